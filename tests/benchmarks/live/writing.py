"""The tables and the picture."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib

from tests.benchmarks.live.courses import Course
from tests.benchmarks.live.figures import Cost, Curves, Watched, pairs_a_point, points_a_path
from tests.benchmarks.live.running import Run

matplotlib.use("Agg")
from matplotlib import pyplot as plt


@dataclass(frozen=True)
class Result:
    """A course with all that is said of it."""

    course: Course
    steps: int
    watched: Watched
    plain: Sequence[Run]
    cost: Cost
    curves: Curves


def tables(results: Sequence[Result]) -> str:
    """Two tables: what the line costs, and what it shows."""
    cost = _table(
        "run | steps | step, ms | contract, s | journal / contract, largest "
        "| loop with less without / contract | CPU time beside / contract | standstill, of the training "
        "| at a probe, of its step",
        [_cost_cells(result) for result in results],
    )
    curve = _table(
        "run | points | aim | pairs a point | points a path | error at points | but the first 3 "
        "| over the course | whole panel held, same cost (probes) | ratio | covered",
        [_curve_cells(result) for result in results],
    )
    return f"{cost}\n\nThe curves:\n\n{curve}"


def _table(head: str, rows: Sequence[Sequence[str]]) -> str:
    columns = head.count("|") + 1
    lines = [head, " | ".join(["---", *["---:"] * (columns - 1)]), *map(" | ".join, rows)]
    return "\n".join(f"| {line} |" for line in lines)


def _cost_cells(result: Result) -> list[str]:
    cost = result.cost
    step = statistics.median(run.step_seconds for run in result.plain)
    return [
        result.course.title, f"{result.steps:,}", f"{1e3 * step:.1f}", f"{cost.contract:.2f}",
        f"{max(cost.shares):.2f}", _median_and_range(cost.outside), _median_and_range(cost.beside),
        f"{cost.standstill:.2%}", _percent(cost.stall),
    ]  # fmt: skip


def _curve_cells(result: Result) -> list[str]:
    curves, points = result.curves, result.curves.at_points.nonzero()[0]
    course = curves.course.nonzero()[0]
    ours, theirs = curves.error(curves.published, course), curves.error(curves.rival, course)
    return [
        result.course.title, str(len(result.watched.curve)), str(result.course.aim or "-"),
        f"{pairs_a_point(result.watched):.0f}", f"{points_a_path(result.watched):.0f}",
        _percent(curves.error(curves.published, points)),
        _percent(curves.error(curves.published, points[3:])), _percent(ours),
        f"{theirs:.1%} ({curves.rival_probes})", f"{ours / theirs:.2f}" if theirs else "-",
        f"{curves.covered:.0%}",
    ]  # fmt: skip


def _median_and_range(values: Sequence[float]) -> str:
    middle = f"{statistics.median(values):.2f}"
    return f"{middle} ({min(values):.2f} to {max(values):.2f})" if len(values) > 1 else middle


def _percent(share: float) -> str:
    return "-" if math.isnan(share) else f"{share:.1%}"


def draw(results: Sequence[Result], path: Path) -> None:
    """Every course's curve with its interval, over that of the whole panel."""
    figure, axes = plt.subplots(2, 4, figsize=(13, 5.6), dpi=80)
    for axis, result in zip(axes.flat, results, strict=False):
        curves, own = result.curves, result.watched.curve
        steps = sorted(own)
        phi, lower, upper = zip(*(own[step] for step in steps), strict=True)
        axis.plot(curves.steps, curves.whole, color="black", linewidth=1, label="whole panel, offline")
        axis.plot(
            curves.steps, curves.rival, color="tab:red", linewidth=0.8, drawstyle="steps-post",
            label="whole panel, held between probes of the same cost",
        )  # fmt: skip
        axis.fill_between(steps, lower, upper, color="tab:blue", alpha=0.2, linewidth=0)
        axis.plot(steps, phi, "o-", color="tab:blue", linewidth=0.8, markersize=2, label="the one line")
        axis.set_xscale("symlog", linthresh=10)
        axis.set_title(f"{result.course.title}, {result.steps:,} steps", fontsize=8)
        axis.tick_params(labelsize=7)
    for axis in axes.flat[len(results) :]:
        axis.set_axis_off()
    figure.legend(*axes.flat[0].get_legend_handles_labels(), loc="lower right", fontsize=8)
    figure.supxlabel("step", fontsize=8)
    figure.supylabel("phi", fontsize=8)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    plt.close(figure)


def page(sections: Mapping[int, str], machine: str, how: str) -> str:
    """The results page: a section for each number of threads."""
    parts = [f"# The one line at its defaults: measured\n\n{machine}\n\n{how}"]
    for threads, text in sections.items():
        parts.append(f"## {threads} intra-op thread{'s' * (threads > 1)}\n\n{text}")
    return "\n\n".join(parts) + "\n\n![The curves](figures/live.png)\n"
