"""How well a few pairs a probe follow the curve of the whole panel, and how often the interval covers.

Networks are trained once, and at every probe a large population of pairs is measured (kept under --data; an
interrupted run goes on where it was). All else is replay: panels are drawn from the population.

    OMP_NUM_THREADS=1 python -m tests.benchmarks.panel --data /tmp/panel

Repeats are columns: a panel's arithmetic depends on the places of the measured pairs, not on their values, so
many panels, each of pairs drawn anew, take the same turns side by side. Errors are root mean squares over the
range of the whole panel's curve. "held" is the whole panel at every P/m-th probe, held in between.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

import foldmon
from foldmon.commands.demo import digits_cnn
from foldmon.folding.results.composite import RATES, Composite
from foldmon.folding.results.panel import Panel, bootstrap_intervals
from tests.benchmarks.digits_networks import digits, mlp

POPULATION, PAIRS = 512, 64
SHARES = (1, 2, 4, 8, 16)
QUANTITIES = {"network": 0, "changes": -2, "elsewhere": -1}
Floats = np.ndarray


@dataclass(frozen=True)
class Course:
    """A training run: what is trained on what, how, and for how long."""

    name: str
    data: str
    model: Callable[[], nn.Module]
    optimizer: Callable[[nn.Module], torch.optim.Optimizer]
    wrong: float = 0.0
    steps: int = 2000


def _adam(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.Adam(model.parameters(), 1e-3)


def _sgd(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), 0.05, momentum=0.9)


def _mlp(inputs: int, classes: int, width: int = 128, depth: int = 3) -> nn.Module:
    widths = [inputs, *[width] * depth]
    layers = [m for a, b in pairwise(widths) for m in (nn.Linear(a, b), nn.ReLU())]
    return nn.Sequential(*layers, nn.Linear(width, classes))


COURSES = [
    Course("digits MLP, Adam", "digits", lambda: mlp(3, 128, nn.ReLU), _adam),
    Course("digits MLP, Adam, 40% wrong", "digits", lambda: mlp(3, 128, nn.ReLU), _adam, wrong=0.4),
    Course("digits MLP, SGD", "digits", lambda: mlp(3, 128, nn.ReLU), _sgd),
    Course("digits CNN, Adam", "images", digits_cnn, _adam, steps=1500),
    Course("digits CNN, SGD, 40% wrong", "images", digits_cnn, _sgd, wrong=0.4, steps=1500),
    Course("breast cancer MLP, Adam", "cancer", lambda: _mlp(30, 2, 64, 4), _adam),
    Course("breast cancer MLP, Adam, 40% wrong", "cancer", lambda: _mlp(30, 2, 64, 4), _adam, wrong=0.4),
    Course("wine MLP, SGD, 40% wrong", "wine", lambda: _mlp(13, 3, 64, 4), _sgd, wrong=0.4),
]


def load(name: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Standardised inputs and classes, shuffled."""
    from sklearn.datasets import load_breast_cancer, load_wine

    if name in ("digits", "images"):
        inputs, classes = digits()
        return (inputs.view(-1, 1, 8, 8) if name == "images" else inputs), classes
    x, y = (load_breast_cancer if name == "cancer" else load_wine)(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))
    x = (x - x.mean(0)) / x.std(0)
    return torch.tensor(x[order], dtype=torch.float32), torch.tensor(y[order])


def probes(steps: int) -> Iterator[int]:
    """Steps of the probes: the interval is a fiftieth of the steps so far, at least one."""
    at = 0
    while at <= steps:
        yield at
        at += max(1, at // 50)


def measured(model: nn.Module, pairs: foldmon.Pairs) -> Floats:
    """Shape (population, K): chi of the network, of each layer, cumulative; changes and share elsewhere."""
    report = foldmon.measure(model, pairs, points=33)
    decision = report.decision
    assert decision is not None
    columns = [
        report.chi_network,
        *report.chi.T,
        *report.chi_cumulative.T,
        decision.changes,
        decision.elsewhere,
    ]
    return np.stack(columns, 1).astype(np.float64)


def record(course: Course, path: Path) -> None:
    """Train, measure the population at every probe, and keep it."""
    torch.manual_seed(0)
    inputs, labels = load(course.data)
    half = len(labels) // 2
    pairs = foldmon.draw_pairs((inputs[half:], labels[half:]), POPULATION, seed=1)
    learned, classes = labels[:half].clone(), int(labels.max()) + 1
    wrong = torch.rand(half) < course.wrong
    learned[wrong] = (learned[wrong] + torch.randint(1, classes, (int(wrong.sum()),))) % classes
    model = course.model()
    optimizer = course.optimizer(model)
    due, values, steps = set(probes(course.steps)), [], []
    for step in tqdm(range(course.steps + 1), desc=course.name, mininterval=2):
        if step in due:
            values.append(measured(model, pairs).astype(np.float32))
            steps.append(step)
        rows = torch.randint(0, half, (min(64, half),))
        loss = nn.functional.cross_entropy(model(inputs[:half][rows]), learned[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    kept = path.with_suffix(".part.npz")
    np.savez_compressed(kept, steps=np.array(steps), values=np.array(values), classes=pairs.classes)
    kept.rename(path)


def draw(values: Floats, repeats: int) -> Floats:
    """Panels of pairs drawn with replacement: (probes, P, repeats) of one quantity's (probes, population)."""
    rows = np.random.default_rng(2).integers(values.shape[1], size=(PAIRS, repeats))
    return values[:, rows].astype(np.float64)


def follow(
    steps: Floats, panels: Floats, share: int, rates: tuple[float, ...] = RATES, first: int | None = None
) -> tuple[Floats, Floats, Floats]:
    """The composite estimate at every probe: mean, lower and upper, each (probes, repeats).

    The first probe measures ``first`` pairs, where it is given.
    """
    panel = Panel(PAIRS, seed=3)
    composite = Composite(PAIRS, panels.shape[2], rates)
    found = []
    for step, values in zip(steps.tolist(), panels, strict=True):
        panel._composite = composite
        measured = panel.next(share if found or first is None else first)
        estimate = panel.update(step, measured, values[measured])
        found.append((estimate.mean, estimate.lower, estimate.upper))
    mean, lower, upper = np.moveaxis(np.array(found), 1, 0)
    return mean, lower, upper


def latest(panels: Floats, share: int) -> Floats:
    """The mean of each pair's latest value, over the pairs that have one."""
    turns, known, found = Panel(PAIRS, seed=3), np.full(panels.shape[1:], np.nan), []
    for values in panels:
        measured = turns.next(share)
        known[measured] = values[measured]
        found.append(np.nanmean(known, 0))
    return np.array(found)


def two_way(panels: Floats, share: int) -> Floats:
    """Pair effects and a smoothed time, fitted anew at every probe by penalised least squares."""
    probes, repeats = len(panels), panels.shape[2]
    turns, found = Panel(PAIRS, seed=3), []
    normal, right = np.zeros((PAIRS + probes,) * 2), np.zeros((PAIRS + probes, repeats))
    normal[np.arange(PAIRS), np.arange(PAIRS)] = 1.0
    for at, values in enumerate(panels):
        measured = turns.next(share)
        if at:
            now = PAIRS + at
            normal[now - 1 : now + 1, now - 1 : now + 1] += 100.0 * np.array([[1, -1], [-1, 1]])
        for pair in measured:
            both = np.ix_([pair, PAIRS + at], [pair, PAIRS + at])
            normal[both] += 1.0
            right[[pair, PAIRS + at]] += values[pair]
        used = PAIRS + at + 1
        fitted = np.linalg.solve(normal[:used, :used], right[:used])
        found.append(fitted[:PAIRS].mean(0) + fitted[-1])
    return np.array(found)


def held(panels: Floats, share: int) -> Floats:
    """The whole panel at every P/m-th probe, held in between: equal cost."""
    every = PAIRS // share
    return panels.mean(1)[np.arange(len(panels)) // every * every]


def error(estimate: Floats, truth: Floats, skipped: int = 0) -> float:
    """Root mean square over the truth's range, over probes and repeats."""
    estimate, truth = estimate[skipped:], truth[skipped:]
    return float(np.sqrt(np.mean(((estimate - truth) / np.ptp(truth, axis=0)) ** 2)))


def phases(truth: Floats) -> dict[str, Floats]:
    """Where the population's curve, smoothed over a tenth of the probes, falls, grows or is flat."""
    width = max(3, len(truth) // 10)
    smooth = np.convolve(np.pad(truth, width // 2, mode="edge"), np.ones(width) / width, mode="valid")
    slope = np.gradient(smooth[: len(truth)]) * width / np.ptp(truth)
    return {"falling": slope < -0.05, "flat": np.abs(slope) <= 0.05, "growing": slope > 0.05}


def errors_table(courses: dict[str, np.lib.npyio.NpzFile], column: int, thin: int, repeats: int) -> None:
    heads = ("held", "latest", "two-way", "one rate", "composite", "but 3", "of held", "whole first")
    print(f"| course | m | {' | '.join(heads)} | to truth: held | composite |")
    print("| --- | ---: |" + " ---: |" * 10)
    rows = []
    for name, kept in courses.items():
        steps, population = kept["steps"][::thin], kept["values"][::thin, :, column]
        if np.ptp(population.mean(1)) == 0:
            continue
        for share in SHARES:
            cells = compared(steps, draw(population, repeats), share, population.mean(1))
            rows.append((share, cells))
            print(f"| {name} | {share} | " + " | ".join(f"{cell:.3f}" for cell in cells) + " |", flush=True)
    for share in SHARES:
        mean = np.mean([cells for m, cells in rows if m == share], axis=0)
        print(f"| **mean** | {share} | " + " | ".join(f"{cell:.3f}" for cell in mean) + " |", flush=True)


def compared(steps: Floats, panels: Floats, share: int, truth: Floats) -> list[float]:
    """A row of the table of errors: against the whole panel's curve, at last against the population's."""
    whole, truth = panels.mean(1), truth[:, None].astype(np.float64)
    composite, rival = follow(steps, panels, share)[0], held(panels, share)
    ours, theirs = error(composite, whole), error(rival, whole)
    others = [
        latest(panels, share),
        two_way(panels, share),
        follow(steps, panels, share, (1e-2,))[0],
    ]
    prepaid = follow(steps, panels, share, first=PAIRS)[0]
    return [
        theirs, *(error(other, whole) for other in others), ours, error(composite, whole, 3), ours / theirs,
        error(prepaid, whole), error(rival, truth), error(composite, truth),
    ]  # fmt: skip


def coverage_table(courses: dict[str, np.lib.npyio.NpzFile], column: int, thin: int, repeats: int) -> None:
    print("| course | m | covered | falling | flat | growing | lowest eighth | width | whole panel covered |")
    print("| --- | ---: |" + " ---: |" * 7)
    every: dict[int, list[float]] = {share: [] for share in SHARES}
    for name, kept in courses.items():
        steps, population = kept["steps"][::thin], kept["values"][::thin, :, column]
        panels, truth = draw(population, repeats), population.mean(1)[:, None].astype(np.float64)
        some = range(0, len(panels), 8)
        bounds = np.array([bootstrap_intervals(panels[at]) for at in some])
        width = float(np.mean(bounds[:, 1] - np.maximum(bounds[:, 0], 0)))
        right = (bounds[:, 0] <= truth[::8]) & (truth[::8] <= bounds[:, 1])
        for share in SHARES:
            _, lower, upper = follow(steps, panels, share)
            given = np.isfinite(lower)
            covered = ((lower <= truth) & (truth <= upper)).astype(float)
            covered[~given] = np.nan
            parts = [
                np.nanmean(covered[where]) if where.any() else np.nan
                for where in phases(truth[:, 0]).values()
            ]
            lowest = min(np.nanmean(part) for part in np.array_split(covered, 8))
            every[share].append(float(np.nanmean(covered)))
            wide = np.nanmean(upper - lower) / width if width else np.nan
            cells = [every[share][-1], *parts, lowest, wide, right.mean()]
            print(f"| {name} | {share} | " + " | ".join(f"{c:.3f}" for c in cells) + " |", flush=True)
    for share, values in every.items():
        print(f"| **mean** | {share} | {np.mean(values):.3f} | | | | | | |")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of what was measured")
    parser.add_argument("--quantity", default="network", choices=QUANTITIES, help="of the tables")
    parser.add_argument("--repeats", type=int, default=500, help="panels drawn from each population")
    parser.add_argument("--thin", type=int, default=1, help="use every n-th probe only")
    arguments = parser.parse_args()
    arguments.data.mkdir(parents=True, exist_ok=True)
    courses = {}
    for course in tqdm(COURSES, desc="courses"):
        path = arguments.data / (re.sub("[^a-zA-Z0-9]+", "-", course.name) + ".npz")
        if not path.exists():
            record(course, path)
        courses[course.name] = np.load(path)
    column = QUANTITIES[arguments.quantity]
    print(f"\n{arguments.quantity}, {arguments.repeats} panels of {PAIRS} pairs from {POPULATION}\n")
    errors_table(courses, column, arguments.thin, arguments.repeats)
    print()
    coverage_table(courses, column, arguments.thin, arguments.repeats)


if __name__ == "__main__":
    main()
