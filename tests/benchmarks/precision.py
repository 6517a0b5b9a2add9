"""Precision of folding on scikit-learn's digits, for trained and untrained networks; three tables.

1. Exact paths: evaluations over breakpoints, pooling's switches included, and time over uniform points.
2. method="auto": how many times its evaluations uniform points take to the same root mean square error of
   phi: 33 points, points whose last doubling moved phi by no more than a standard error ("settled": what can
   be told without the truth), and the best number of points, which only the truth tells.
3. How often phi's 95% interval holds the truth, for fixed pairs and with auto's stopping rule.

    python -m tests.benchmarks.precision [--results FILE] [--repeats 500] [--only NAME]
"""

from __future__ import annotations

import argparse
import copy
from typing import Any

import torch

import foldmon
from tests.benchmarks.digits_networks import TRAINED_ON, digits, networks
from tests.benchmarks.precision_exact import exact_cost
from tests.benchmarks.precision_phi import Population, fixed_coverage, phi_cost, rows_error

PATHS = 64
Row = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--results", help="write the tables there too, as Markdown")
    parser.add_argument("--population", type=int, default=1000, help="pairs whose mean is taken for true")
    parser.add_argument("--repeats", type=int, default=500)
    parser.add_argument("--tolerances", type=float, nargs="+", default=[0.01])
    parser.add_argument("--only", default="", help="networks whose name holds this")
    options = parser.parse_args()
    torch.set_num_threads(1)
    inputs, classes = digits()
    pairs = foldmon.draw_pairs((inputs[TRAINED_ON:], classes[TRAINED_ON:]), options.population)
    tables: dict[str, list[Row]] = {}
    for name, model in [(name, copy.deepcopy(model)) for name, model in networks()]:
        if options.only not in name:
            continue
        print(name, flush=True)
        for title, row in rows_of(model, pairs, options.repeats, options.tolerances).items():
            tables.setdefault(title, []).append({"network": name} | row)
            print(f"  {title}: {row}", flush=True)
    text = "\n".join(f"\n## {title}\n\n{table(rows)}" for title, rows in tables.items())
    print(text)
    if options.results:
        with open(options.results, "w") as file:
            file.write(f"{text}\n")


def rows_of(
    model: torch.nn.Module, pairs: foldmon.Pairs, repeats: int, tolerances: list[float]
) -> dict[str, Row]:
    """Rows of a network, by the table's title."""
    rows: dict[str, Row] = {}
    if foldmon.measure(model, pairs[:2], method="exact").exact:
        rows["Exact paths"] = exact_cost(model, pairs[:PATHS])
    population = Population.of(model, pairs)
    coverage = fixed_coverage(population, repeats)
    for tolerance in tolerances:
        row = phi_cost(population, tolerance, repeats, offered=len(pairs))
        coverage[f"auto, stopped at {tolerance:g}"] = row.pop("covered")
        rows[f"Auto at tolerance {tolerance:g}; how many times its evaluations uniform points take"] = row
    rows["Share of intervals that hold the truth (95% nominal)"] = coverage
    rows["Error of single paths"] = rows_error(population, PATHS)
    return rows


def table(rows: list[Row]) -> str:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    lines = ["| " + " | ".join(columns) + " |", "| --- |" + " ---: |" * (len(columns) - 1)]
    for row in rows:
        cells = [row.get(key, "") for key in columns]
        lines.append("| " + " | ".join(shown(c) for c in cells) + " |")
    return "\n".join(lines)


def shown(cell: Any) -> str:
    if not isinstance(cell, float):
        return str(cell)
    return f"{cell:,.0f}" if cell >= 100 else f"{cell:.3g}"


if __name__ == "__main__":
    main()
