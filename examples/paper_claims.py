"""What the papers say about folding, tried on scikit-learn's digits with exact folding.

The papers are "On Space Folds of ReLU Neural Networks" (arXiv 2502.09954) and "The Space Between: On Folding,
Symmetries and Sampling" (arXiv 2503.08502). Each claim is turned into a statistic that is computed for every
seed, and gets a verdict from the 95% bootstrap interval of its mean over seeds:

    holds       the whole interval is on the claim's side
    disagrees   the whole interval is on the other side
    undecided   the interval holds both

    python examples/paper_claims.py               # two seeds: half a minute
    python examples/paper_claims.py --seeds 20    # the full setting

All numbers go into paper_claims.json, the curves into paper_claims.png.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from scipy.stats import spearmanr
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F

import foldmon

DEPTHS = (2, 3, 4, 6, 8)
WIDTHS = (25, 50, 100, 200, 400)
SIZES = (50, 100, 200, 500, 1000)
ACTIVATIONS: dict[str, type[nn.Module]] = {
    "ReLU": nn.ReLU, "GELU": nn.GELU, "SiLU": nn.SiLU, "Tanh": nn.Tanh, "ReLU6": nn.ReLU6,
}  # fmt: skip
DEPTH, WIDTH, SIZE = 6, 100, 1000  # of the network that everything is compared with
STEPS, BATCH, RATE, PAIRS = 400, 50, 2e-3, 64
LOW_ERROR = 0.1


@dataclass(frozen=True)
class Outcome:
    """One trained network."""

    test_error: float
    trained: foldmon.FoldingReport

    @property
    def phi(self) -> float:
        return self.trained.phi


@dataclass(frozen=True)
class Verdict:
    """A claim, the statistic that tests it (positive where the claim is right) and what came out."""

    claim: str
    statistic: str
    values: Sequence[float]

    @property
    def interval(self) -> tuple[float, float]:
        return interval(np.asarray(self.values))

    @property
    def word(self) -> str:
        low, high = self.interval
        return "holds" if low > 0 else "disagrees" if high < 0 else "undecided"


def interval(values: npt.NDArray[np.float64]) -> tuple[float, float]:
    """95% percentile bootstrap interval of the mean over seeds."""
    rows = np.random.default_rng(0).integers(len(values), size=(10_000, len(values)))
    low, high = np.quantile(values[rows].mean(1), (0.025, 0.975))
    return float(low), float(high)


@functools.cache
def digits(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    data = load_digits()
    order = torch.randperm(len(data.target), generator=torch.Generator().manual_seed(seed))
    return torch.tensor(data.data / 16, dtype=torch.float32)[order], torch.tensor(data.target)[order]


def network(depth: int, width: int, activation: type[nn.Module]) -> nn.Sequential:
    sizes = [64, *[width] * depth]
    hidden = [layer for a, b in itertools.pairwise(sizes) for layer in (nn.Linear(a, b), activation())]
    return nn.Sequential(*hidden, nn.Linear(width, 10))


@functools.cache
def outcome(depth: int, width: int, size: int, activation: str, seed: int) -> Outcome:
    """Train a network on ``size`` images, and measure it on images it never saw."""
    images, labels = digits(seed)
    train_x, train_y, test_x, test_y = images[:size], labels[:size], images[1000:], labels[1000:]
    torch.manual_seed(seed)
    model = network(depth, width, ACTIVATIONS[activation])
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    for _ in range(STEPS):
        rows = torch.randint(size, (BATCH,))
        loss = F.cross_entropy(model(train_x[rows]), train_y[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        error = float((model(test_x).argmax(1) != test_y).float().mean())
    return Outcome(error, measured(model, seed))


def measured(model: nn.Module, seed: int) -> foldmon.FoldingReport:
    images, labels = digits(seed)
    pairs = foldmon.draw_pairs((images[1000:], labels[1000:]), PAIRS, seed=seed)
    return foldmon.measure(model, pairs, method="exact")


@functools.cache
def initial_phi(depth: int, seed: int) -> float:
    """Folding of the very weights that training begins with."""
    torch.manual_seed(seed)
    return measured(network(depth, WIDTH, nn.ReLU), seed).phi


def base(seed: int, **changed: int | str) -> Outcome:
    settings = {"depth": DEPTH, "width": WIDTH, "size": SIZE, "activation": "ReLU", **changed}
    return outcome(**settings, seed=seed)


def rank_correlation(xs: Sequence[float], ys: Sequence[float]) -> float:
    return float(spearmanr(xs, ys).statistic)


def log_ratio(new: float, old: float) -> float:
    return float(np.log2(new / old)) if new > 0 and old > 0 else float("nan")


def depth_claim(seed: int) -> float:
    found = {depth: base(seed, depth=depth) for depth in DEPTHS}
    low = {depth: result.phi for depth, result in found.items() if result.test_error < LOW_ERROR}
    return rank_correlation(list(low), list(low.values()))


def share_by_width(seed: int) -> float:
    narrow, wide = base(seed, width=WIDTHS[0]), base(seed, width=WIDTHS[-1])
    return wide.trained.nonzero_fraction - narrow.trained.nonzero_fraction


def strength_by_width(seed: int) -> float:
    """One octave less the change: positive while a folded path keeps between half and twice its folding."""
    narrow, wide = base(seed, width=WIDTHS[0]), base(seed, width=WIDTHS[-1])
    return 1 - abs(log_ratio(wide.trained.phi_median_nonzero, narrow.trained.phi_median_nonzero))


def error_claim(seed: int) -> float:
    found = [base(seed, size=size) for size in SIZES]
    return -rank_correlation([r.test_error for r in found], [r.phi for r in found])


def training_claim(seed: int) -> float:
    return base(seed).phi - initial_phi(DEPTH, seed)


def activation_claim(seed: int, activation: str) -> float:
    profile = base(seed, activation=activation).trained.profile
    return rank_correlation(range(len(profile)), profile.tolist())


def verdicts(seeds: Sequence[int]) -> list[Verdict]:
    claims: list[tuple[str, str, Callable[[int], float]]] = [
        (
            "folding grows with depth in trained networks of low error",
            f"rank correlation of phi with depth {DEPTHS}, test error < {LOW_ERROR:.0%}",
            depth_claim,
        ),
        (
            "wider networks fold more paths",
            f"share of folded paths, width {WIDTHS[-1]} less width {WIDTHS[0]}",
            share_by_width,
        ),
        (
            "a folded path folds about as much in a wider network",
            f"1 - |log2 of the median folding's ratio, width {WIDTHS[-1]} to {WIDTHS[0]}|",
            strength_by_width,
        ),
        (
            "folding is high where the generalization error is low",
            f"- rank correlation of phi with test error over {SIZES} training images",
            error_claim,
        ),
        (
            "training raises folding above that of the initial weights",
            f"phi after training less phi before, {DEPTH} x {WIDTH} ReLU",
            training_claim,
        ),
        *(
            (
                f"folding grows from layer to layer with {name}",
                "rank correlation of the cumulative folding with the layer",
                functools.partial(activation_claim, activation=name),
            )
            for name in ACTIVATIONS
        ),
    ]
    return [Verdict(claim, statistic, [test(seed) for seed in seeds]) for claim, statistic, test in claims]


def table(found: Sequence[Verdict]) -> str:
    lines = []
    for verdict in found:
        low, high = verdict.interval
        lines.append(f"{verdict.word:<10} {verdict.claim}")
        lines.append(
            f"{'':<10} {verdict.statistic}: {np.mean(verdict.values):+.3f} [{low:+.3f}, {high:+.3f}]"
        )
    return "\n".join(lines)


def curves(seeds: Sequence[int]) -> dict[str, dict[str, list[list[float]]]]:
    """Per figure and line, one row a seed."""

    def rows(read: Callable[[Outcome], float], name: str, values: Sequence[int]) -> list[list[float]]:
        return [[read(base(seed, **{name: value})) for value in values] for seed in seeds]

    return {
        "depth": {
            "trained": rows(lambda r: r.phi, "depth", DEPTHS),
            "initial": [[initial_phi(depth, seed) for depth in DEPTHS] for seed in seeds],
        },
        "width": {
            "share of folded paths": rows(lambda r: r.trained.nonzero_fraction, "width", WIDTHS),
            "median folding of those": rows(lambda r: r.trained.phi_median_nonzero, "width", WIDTHS),
        },
        "size": {
            "phi": rows(lambda r: r.phi, "size", SIZES),
            "test error": rows(lambda r: r.test_error, "size", SIZES),
        },
        "layer": {
            name: [base(seed, activation=name).trained.profile.tolist() for seed in seeds]
            for name in ACTIVATIONS
        },
    }


def plot(data: dict[str, dict[str, list[list[float]]]], path: Path) -> None:
    from matplotlib import pyplot as plt

    places = {"depth": DEPTHS, "width": WIDTHS, "size": SIZES, "layer": range(1, DEPTH + 1)}
    titles = {
        "depth": "phi by depth", "width": "by width", "size": "by training images",
        "layer": "cumulative folding by layer",
    }  # fmt: skip
    figure, axes = plt.subplots(1, 4, figsize=(16, 3.8), layout="constrained")
    for axis, (name, lines) in zip(axes, data.items(), strict=True):
        for label, rows in lines.items():
            columns = np.asarray(rows).T
            low, high = interval_columns(columns)
            (line,) = axis.plot(places[name], columns.mean(1), marker="o", ms=3, label=label)
            axis.fill_between(places[name], low, high, alpha=0.2, lw=0, color=line.get_color())
        axis.set_title(titles[name], fontsize=10)
        if name in ("width", "size"):
            axis.set_xscale("log")
            axis.set_yscale("log")
        axis.spines[["top", "right"]].set_visible(False)
        axis.legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def interval_columns(columns: npt.NDArray[np.float64]) -> tuple[list[float], list[float]]:
    ends = [interval(column) for column in columns]
    return [low for low, _ in ends], [high for _, high in ends]


def main() -> None:
    parser = argparse.ArgumentParser(description="The papers' claims, tried on digits with exact folding.")
    parser.add_argument("--seeds", type=int, default=2, help="networks of each kind (default 2; full 20)")
    parser.add_argument("--out", type=Path, default=Path("runs"), help="folder of the figure and the numbers")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    seeds = range(options.seeds)
    found = verdicts(seeds)
    print(table(found))
    data = curves(seeds)
    plot(data, options.out / "paper_claims.png")
    rows = [
        {
            "claim": v.claim,
            "statistic": v.statistic,
            "verdict": v.word,
            "interval": v.interval,
            "values": v.values,
        }
        for v in found
    ]
    errors = {depth: [base(seed, depth=depth).test_error for seed in seeds] for depth in DEPTHS}
    text = json.dumps(
        {"seeds": options.seeds, "verdicts": rows, "curves": data, "test_error": errors}, indent=1
    )
    (options.out / "paper_claims.json").write_text(text)
    print("test error by depth:", ", ".join(f"{depth}: {np.mean(e):.1%}" for depth, e in errors.items()))
    print(f"figure: {options.out / 'paper_claims.png'}")


if __name__ == "__main__":
    main()
