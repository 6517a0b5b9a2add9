"""How well a share of the held-out inputs a probe follows loss and accuracy of all of them.

Networks are trained once, and every held-out input is predicted at every probe (kept under --data). All
else is replay: panels of 512 inputs are drawn from these with replacement, so that the loss and accuracy that
their intervals should cover are known, those of all inputs.

    OMP_NUM_THREADS=1 python -m tests.benchmarks.held_out --data /tmp/held_out

Errors are root mean squares against the whole panel's own value, over the range of the curve, at equal cost.
"latest" is the mean of every input's latest value, "fixed" the mean of as many inputs, always the same,
"held" the whole panel at every 512/m-th probe, held in between. "covers" is how often the 95% interval holds
the value of all inputs, over the course; "worst" the same at the worst probe after the tenth; "width" that of
the interval over a normal one of 512 inputs.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from foldmon.commands.demo import digits_cnn
from foldmon.folding.results.blocks import BlockPanel
from foldmon.folding.results.statistics import wilson_interval
from tests.benchmarks.digits_networks import digits, mlp

INPUTS, TRAINED_ON, PROBES = 512, 600, 130
SHARES = (16, 32, 64, 128)
Floats = np.ndarray


@dataclass(frozen=True)
class Course:
    """A training run: which network, with how many wrong labels, for how long."""

    name: str
    model: Callable[[], nn.Module]
    wrong: float
    steps: int


def _cnn() -> nn.Module:
    return nn.Sequential(nn.Unflatten(1, (1, 8, 8)), digits_cnn())


COURSES = [
    Course("MLP", lambda: mlp(3, 128, nn.ReLU), 0.0, 1500),
    Course("MLP, 40% wrong labels", lambda: mlp(3, 128, nn.ReLU), 0.4, 1500),
    Course("CNN", _cnn, 0.0, 1000),
    Course("CNN, 40% wrong labels", _cnn, 0.4, 1000),
]


def due(steps: int) -> list[int]:
    """PROBES steps, early ones close to each other."""
    at = np.geomspace(30, steps + 30, PROBES) - 30
    return np.maximum(at.round().astype(int), np.arange(PROBES)).tolist()


def record(course: Course) -> tuple[Floats, Floats, Floats]:
    """Steps, and shape (PROBES, inputs): losses and errors of every held-out input."""
    torch.manual_seed(0)
    inputs, labels = digits()
    learned = labels[:TRAINED_ON].clone()
    wrong = torch.rand(TRAINED_ON) < course.wrong
    learned[wrong] = (learned[wrong] + torch.randint(1, 10, (int(wrong.sum()),))) % 10
    model = course.model()
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    at, losses, errors = due(course.steps), [], []
    for step in range(at[-1] + 1):
        if step in at:
            model.eval()
            with torch.no_grad():
                logits = model(inputs[TRAINED_ON:])
            model.train()
            truth = labels[TRAINED_ON:]
            losses.append(nn.functional.cross_entropy(logits, truth, reduction="none").numpy())
            errors.append((logits.argmax(1) != truth).float().numpy())
        rows = torch.randint(0, TRAINED_ON, (64,))
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(inputs[rows]), learned[rows]).backward()
        optimizer.step()
    return np.array(at), np.array(losses), np.array(errors)


def kept(course: Course, folder: Path) -> tuple[Floats, Floats, Floats]:
    path = folder / f"{course.name.replace(' ', '-').replace('%', '')}.npz"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(path, *record(course))
    with np.load(path) as arrays:
        return arrays["arr_0"], arrays["arr_1"], arrays["arr_2"]


def composite(steps: Floats, panels: Floats, share: int, largest: float) -> tuple[Floats, Floats, Floats]:
    """The estimate at every probe, of panels as columns: mean, lower and upper, each (PROBES, repeats)."""
    panel, found = BlockPanel(INPUTS, seed=3), []
    for step, values in zip(steps.tolist(), panels, strict=True):
        rows = panel.next(share)
        estimate = panel.update(step, rows, values[rows], largest)
        found.append((estimate.mean, estimate.lower, estimate.upper))
    mean, lower, upper = np.moveaxis(np.array(found), 1, 0)
    if largest == 1.0:
        least, most = wilson_interval(mean, INPUTS)
        lower, upper = np.minimum(lower, least), np.maximum(upper, most)
    return mean, lower, upper


def latest(panels: Floats, share: int) -> Floats:
    turns, known, found = BlockPanel(INPUTS, seed=3), np.full(panels.shape[1:], np.nan), []
    for values in panels:
        rows = turns.next(share)
        known[rows] = values[rows]
        found.append(np.nanmean(known, 0))
    return np.array(found)


def held(panels: Floats, share: int) -> Floats:
    every = INPUTS // share
    return panels.mean(1)[np.arange(len(panels)) // every * every]


def row(steps: Floats, values: Floats, share: int, repeats: int, largest: float) -> str:
    drawn = np.random.default_rng(2).integers(values.shape[1], size=(INPUTS, repeats))
    panels = values[:, drawn].astype(np.float64)
    truth, everywhere = panels.mean(1), values.mean(1, dtype=np.float64)[:, None]
    mean, lower, upper = composite(steps, panels, share, largest)
    covered = (lower <= everywhere) & (everywhere <= upper)
    span = float(np.ptp(everywhere))

    def error(curve: Floats) -> float:
        return float(np.sqrt(((curve - truth)[5:] ** 2).mean()) / span)

    curves = (mean, latest(panels, share), panels[:, :share].mean(1), held(panels, share))
    cells = [f"{error(curve):.3f}" for curve in curves]
    width = (upper - lower)[10:].mean() / (2 * 1.96 * panels.std(1, ddof=1)[10:].mean() / INPUTS**0.5)
    cells += [f"{covered[2:].mean():.1%}", f"{covered[10:].mean(1).min():.0%}", f"{width:.2f}"]
    return " | ".join(cells)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("/tmp/held_out"))
    parser.add_argument("--repeats", type=int, default=200)
    options = parser.parse_args()
    print("| course | value | inputs | composite | latest | fixed | held | covers | worst | width |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for course in COURSES:
        steps, losses, errors = kept(course, options.data)
        for name, values, largest in (("loss", losses, np.inf), ("accuracy", errors, 1.0)):
            for share in (*SHARES, INPUTS):
                cells = row(steps, values, share, options.repeats, largest)
                print(f"| {course.name} | {name} | {share} | {cells} |")


if __name__ == "__main__":
    main()
