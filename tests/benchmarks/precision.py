"""What exact and automatic measuring cost at equal error, and how often phi's interval covers.

Error: mean over paths of |chi - exact chi|. Uniform points: the fewest, of 2**k + 1, whose error is no
larger; ">4097" where even that many are not enough. Exact is compared with the fewest uniform points that
give every path's r1 and r2. Times are medians, taken in turns. Interval: 500 draws of pairs from a larger
set whose mean is known, stopped as method="auto" stops.

    python -m tests.benchmarks.precision [--json FILE] [--paths 64] [--repeats 500]
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

import foldmon
from foldmon.measure.auto import BLOCK, interval_width
from foldmon.measure.statistics import bootstrap_interval
from tests.benchmarks.digits_networks import TRAINED_ON, digits, networks

LADDER = [2**k + 1 for k in range(1, 13)]

MOST_PAIRS = 256


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--json", help="write the rows there too")
    parser.add_argument("--paths", type=int, default=64)
    parser.add_argument("--population", type=int, default=1000, help="pairs whose mean is taken for true")
    parser.add_argument("--repeats", type=int, default=500)
    parser.add_argument("--tolerance", type=float, default=0.02, help="of the coverage runs")
    options = parser.parse_args()
    torch.set_num_threads(1)
    inputs, classes = digits()
    held_out = (inputs[TRAINED_ON:], classes[TRAINED_ON:])
    rows = []
    for name, model in networks():
        model = model.double()
        row = {"network": name} | at_equal_error(model, foldmon.draw_pairs(held_out, options.paths))
        row |= coverage(
            model, foldmon.draw_pairs(held_out, options.population), options.repeats, options.tolerance
        )
        print(json.dumps(row), flush=True)
        rows.append(row)
        model.float()
    print(table(rows))
    if options.json:
        with open(options.json, "w") as file:
            json.dump(rows, file, indent=1)


def at_equal_error(model: nn.Module, pairs: foldmon.Pairs) -> dict[str, Any]:
    exact = foldmon.measure(model, pairs, method="exact")
    reference = exact if exact.exact else foldmon.measure(model, pairs, points=LADDER[-1])
    # One budget for every network: what 33 uniform points cost.
    auto = foldmon.measure(model, pairs, method="auto", tolerance=1e-9)
    generous = foldmon.measure(model, pairs, method="auto", tolerance=1e-9, max_evaluations=10**6)
    uniform = {n: foldmon.measure(model, pairs, points=n) for n in LADDER}
    errors = {n: error(report, reference) for n, report in uniform.items()}
    same = [n for n, report in uniform.items() if equal(report, reference)]
    needed = same[0] if same else LADDER[-1]
    seconds = medians(
        lambda: foldmon.measure(model, pairs, method="exact"),
        lambda: foldmon.measure(model, pairs, points=needed),
    )
    paths = len(pairs)
    row: dict[str, Any] = {
        "phi": reference.phi,
        "exact": exact.exact,
        "exact_evaluations": exact.evaluations / paths,
        "exact_over_breakpoints": exact.evaluations / (exact.r2[:, :-1].sum() + 2 * paths),
        "uniform_all_equal": same[0] if same else f">{LADDER[-1]}",
        "exact_seconds_over_uniform": seconds[0] / seconds[1],
    }
    for key, report in (("auto", auto), ("auto_unbounded", generous)):
        if len(report.r1) == paths:
            bound = error(report, reference)
            fewest = next((n for n in LADDER if errors[n] <= bound), None)
            row[f"{key}_error"] = bound
            row[f"{key}_uniform"] = fewest or f">{LADDER[-1]}"
        row[f"{key}_evaluations"] = report.evaluations / len(report.r1)
        row[f"{key}_exact"] = report.exact
    return row | {"uniform_33_error": errors[33]}


def error(report: foldmon.FoldingReport, reference: foldmon.FoldingReport) -> float:
    return float(np.abs(report.chi_network - reference.chi_network).mean())


def equal(report: foldmon.FoldingReport, reference: foldmon.FoldingReport) -> bool:
    return bool((report.r1_cumulative == reference.r1_cumulative).all() and (report.r2 == reference.r2).all())


def medians(*actions: Callable[[], object], turns: int = 3) -> list[float]:
    """Median seconds of each action, the actions taken in turns."""
    seconds: list[list[float]] = [[] for _ in actions]
    for _ in range(turns):
        for action, taken in zip(actions, seconds, strict=True):
            began = time.perf_counter()
            action()
            taken.append(time.perf_counter() - began)
    return [float(np.median(taken)) for taken in seconds]


def coverage(model: nn.Module, pairs: foldmon.Pairs, repeats: int, tolerance: float) -> dict[str, Any]:
    """How often the interval holds the mean of all pairs, for 64 pairs and for the automatic number."""
    chi = foldmon.measure(model, pairs, method="auto", tolerance=1e-9, max_evaluations=10**9).chi_network
    generator = np.random.default_rng(0)
    fixed, stopped, used = 0, 0, []
    for _ in range(repeats):
        drawn = generator.permutation(chi)
        fixed += holds(drawn[:64], chi.mean())
        count = BLOCK
        while count < MOST_PAIRS and interval_width(drawn[:count]) > tolerance:
            count += BLOCK
        stopped += holds(drawn[:count], chi.mean())
        used.append(count)
    return {
        "covered_64": fixed / repeats,
        "covered_auto": stopped / repeats,
        "auto_pairs": float(np.median(used)),
    }


def holds(values: np.ndarray, mean: float) -> bool:
    low, high = bootstrap_interval(values)
    return bool(low <= mean <= high)


def table(rows: list[dict[str, Any]]) -> str:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    lines = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    for row in rows:
        cells = [row.get(key, "") for key in columns]
        lines.append("| " + " | ".join(f"{c:.4g}" if isinstance(c, float) else str(c) for c in cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
