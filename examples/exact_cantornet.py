"""Exact folding of CantorNet, a network whose folding is known for every depth.

Each of its k blocks maps the unit interval onto itself three times, so a straight path crosses exponentially
many regions and its folding tends to 1. Sampled folding needs more points with every block; the exact
method finds the breakpoints themselves.

    python examples/exact_cantornet.py

Source: "On Space Folds of ReLU Neural Networks", arXiv 2502.09954.
"""

from __future__ import annotations

from pathlib import Path

import torch
from matplotlib import pyplot as plt
from torch import Tensor, nn

import foldmon

START, END = torch.tensor([[0.013, 0.74]]), torch.tensor([[0.987, 0.72]])
BLOCKS = range(1, 8)
POINTS = (5, 9, 17, 33, 65)


def linear(weight: list[list[float]], bias: list[float]) -> nn.Linear:
    layer = nn.Linear(len(weight[0]), len(weight))
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(weight))
        layer.bias.copy_(torch.tensor(bias))
    return layer


def cantornet(blocks: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for _ in range(blocks):
        layers += [linear([[3, 0], [-3, 0], [0, 1]], [-2, 1, 0]), nn.ReLU()]
        layers += [linear([[1, 1, 0], [0, 0, 1]], [0, 0]), nn.ReLU()]
    return nn.Sequential(*layers, linear([[-0.5, 1]], [-0.5]), nn.ReLU()).double()


def folding(blocks: int, **how: object) -> foldmon.FoldingReport:
    ends: tuple[Tensor, Tensor] = (START.double(), END.double())
    return foldmon.measure(cantornet(blocks), ends, **how)  # type: ignore[arg-type]


exact = [folding(blocks, method="exact") for blocks in BLOCKS]
for blocks, report in zip(BLOCKS, exact, strict=True):
    r1, r2 = int(report.r1_cumulative[0, -1]), int(report.r2_cumulative[0, -1])
    found = f"r1 = {r1:>3}, r2 = {r2:>4}, folding {report.phi:.4f}"
    print(f"k = {blocks}: {found}, {report.evaluations:>4} evaluations")
known = {1: (3, 6), 2: (5, 16), 3: (7, 36)}
for blocks, (r1, r2) in known.items():
    report = exact[blocks - 1]
    assert (report.r1_cumulative[0, -1], report.r2_cumulative[0, -1]) == (r1, r2)

figure, axis = plt.subplots(figsize=(6, 4), layout="constrained")
axis.plot(BLOCKS, [report.phi for report in exact], "k-o", label="exact")
for points in POINTS:
    sampled = [folding(blocks, method="sampled", points=points).phi for blocks in BLOCKS]
    axis.plot(BLOCKS, sampled, marker=".", lw=1, label=f"{points} points")
axis.set_xlabel("blocks k")
axis.set_ylabel("folding of the path")
axis.spines[["top", "right"]].set_visible(False)
axis.legend(frameon=False)
path = Path("runs") / "cantornet.png"
path.parent.mkdir(exist_ok=True)
figure.savefig(path, dpi=130)
print(f"figure: {path}")
