"""What an exact path costs: evaluations over breakpoints, and over uniform points that see as much."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import foldmon

LADDER = [2**k + 1 for k in range(1, 13)]
_DENSE = 20_001
_SHOWN_PATHS = 8  # of which pooling is sampled densely


def exact_cost(model: nn.Module, pairs: foldmon.Pairs) -> dict[str, Any]:
    """One row of the table, for a network that is linear in pieces, in float32."""
    paths = len(pairs)
    exact = foldmon.measure(model, pairs, method="exact")
    units = exact.r2[:, :-1].sum() / paths
    kinks = pooling_kinks(model, pairs[:_SHOWN_PATHS]) / min(paths, _SHOWN_PATHS)
    reference = foldmon.measure(model, pairs, method="exact", dtype=torch.float64)
    fewest = next((n for n in LADDER if equal(foldmon.measure(model, pairs, points=n), exact)), None)
    seconds = medians(
        lambda: foldmon.measure(model, pairs, method="exact"),
        lambda: foldmon.measure(model, pairs, points=fewest or LADDER[-1]),
    )
    evaluations = exact.evaluations / paths
    return {
        "certified": exact.exact,
        "evaluations a path": evaluations,
        "breakpoints of units": units,
        "of pooling": kinks,
        "over units' + 2": evaluations / (units + 2),
        "over all + 2": evaluations / (units + kinks + 2),
        "paths as in float64": f"{agreeing(exact, reference)} of {paths}",
        "uniform points that see all": fewest or f">{LADDER[-1]}",
        "time over theirs": seconds[0] / seconds[1],
    }


def pooling_kinks(model: nn.Module, pairs: foldmon.Pairs) -> int:
    """How often max-pooling selects another index along the paths, by dense sampling in float64.

    Not counted where what is selected is 0 on either side: there a unit leaves or reaches the flat piece of
    its ReLU, which is that unit's own breakpoint.
    """
    model = copy.deepcopy(model).double()
    found = 0

    def hook(pool: nn.Module, args: tuple[Tensor]) -> None:
        nonlocal found
        options = (pool.kernel_size, pool.stride, pool.padding, pool.dilation)
        value, index = F.max_pool2d(args[0], *options, return_indices=True)
        positive = (value[1:] > 0) & (value[:-1] > 0)
        found += int(((index[1:] != index[:-1]) & positive).sum())

    for module in model.modules():
        if isinstance(module, nn.MaxPool2d):
            module.register_forward_pre_hook(hook)
    t = torch.linspace(0, 1, _DENSE, dtype=torch.float64)[:, None]
    with torch.no_grad():
        for a, b in zip(pairs.first.double(), pairs.second.double(), strict=True):
            model(torch.lerp(a, b, t))
    return found


def equal(report: foldmon.FoldingReport, reference: foldmon.FoldingReport) -> bool:
    return agreeing(report, reference) == len(reference.r1)


def agreeing(report: foldmon.FoldingReport, reference: foldmon.FoldingReport) -> int:
    """Paths on which every r1 and r2 is the same."""
    same = (report.r1_cumulative == reference.r1_cumulative) & (report.r2 == reference.r2)
    return int(same.all(1).sum())


def medians(*actions: Callable[[], object], turns: int = 3) -> list[float]:
    """Median seconds of each action, the actions taken in turns."""
    seconds: list[list[float]] = [[] for _ in actions]
    for _ in range(turns):
        for action, taken in zip(actions, seconds, strict=True):
            began = time.perf_counter()
            action()
            taken.append(time.perf_counter() - began)
    return [float(np.median(taken)) for taken in seconds]
