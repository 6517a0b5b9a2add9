"""The summary table of a monitor."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from foldmon.exporters.words import joined
from foldmon.folding.results.coverage import Coverage
from foldmon.folding.results.report import FoldingReport
from foldmon.journal.schema import RunCosts
from foldmon.warning.finding import FoldingWarning

_NAME_WIDTH = 36


def summary_table(
    report: FoldingReport | None,
    coverage: Coverage,
    costs: RunCosts,
    steps: int,
    journal_path: str,
    warnings: Sequence[FoldingWarning] = (),
) -> str:
    """What was warned of, the latest measurement, layer by layer, and what measuring cost.

    Args:
        report: the latest, None before it.
        coverage: what was found at attach.
        costs: "overhead", "skipped".
        steps: training steps so far.
        journal_path: where the journal is.
        warnings: those so far, of which the latest is said.
    """
    lines = _latest(warnings) + (["no probe has ended yet"] if report is None else _table(report))
    if report is not None:
        # Its notes hold those of its coverage, which names layers with NaN once more, without counts.
        coverage = replace(report.coverage, notes=report.notes).with_notes(*coverage.notes)
    lines += [
        "",
        f"{steps:,} steps; probes cost {costs['cost_seconds']:.2f} s, {costs['overhead']:.2%} of the time, "
        f"{costs['skipped']:.0f} skipped because one was running",
        str(coverage),
        f"journal: {journal_path}",
    ]
    return "\n".join(lines)


def _latest(warnings: Sequence[FoldingWarning]) -> list[str]:
    if not warnings:
        return []
    last, more = warnings[-1], f" ({len(warnings)} warnings so far)" if len(warnings) > 1 else ""
    return [f"WARNING at step {last.step:,}{more}: {joined(last.reasons)}", ""]


def report_table(report: FoldingReport) -> str:
    """A measurement, layer by layer."""
    return "\n".join([*_table(report), *(f"note: {note}" for note in report.notes)])


def _table(report: FoldingReport) -> list[str]:
    return [_headline(report), "", *_layers(report)]


def _headline(report: FoldingReport) -> str:
    text = (
        f"{report}\n{report.nonzero_fraction:.0%} of the paths fold, "
        f"median of those {report.phi_median_nonzero:.4f}, largest {report.phi_max:.4f}"
    )
    if report.estimate is not None:
        text += (
            f"\nestimates for all {report.estimate.pairs} pairs, which take turns; "
            f"dead units are of the {len(report.r1)} of this turn"
        )
    if report.decision is not None:
        text += (
            f"\ndecision: {report.decision.mean_changes:.2f} class changes a path, "
            f"{report.decision.mean_elsewhere:.1%} of it in a third class"
        )
    if report.held_out is not None:
        text += f"\nheld-out: {report.held_out}"
    return text


def _layers(report: FoldingReport) -> list[str]:
    head = f"{'layer':<{_NAME_WIDTH}} {'units':>9} {'folding':>8} {'to here':>8} {'dead':>6}"
    rows = [head, "-" * len(head)]
    folding, profile = report.folding, report.profile
    for place, name in enumerate(report.layers):
        rows.append(
            f"{_shortened(name):<{_NAME_WIDTH}} {report.units[place]:>9,} {folding[place]:>8.4f} "
            f"{profile[place]:>8.4f} {_share(report.dead[place]):>6}"
        )
    return rows


def _share(value: float) -> str:
    return "?" if math.isnan(value) else f"{value:.1%}"


def _shortened(name: str) -> str:
    return name if len(name) <= _NAME_WIDTH else "..." + name[3 - _NAME_WIDTH :]
