"""A run in words."""

from __future__ import annotations

import statistics
from typing import Any

import numpy as np

from foldmon.exporters.words import joined
from foldmon.views.run.best import LEAST_FOLDING, best_probe
from foldmon.views.run.reading import Run
from foldmon.views.run.rows import Row
from foldmon.views.text import bounds, counted


def in_words(run: Run) -> list[str]:
    """Sentences that say what a run's probes show, each a plain statement of numbers in the journal.

    Returns:
        At least one sentence; for a run without probes the reason.
    """
    rows = run.rows.kept
    if not rows:
        return run.problems()
    sentences = [_extent(run), *_shares(rows), _phi(rows)]
    if len(rows) > 1:
        sentences += [_layers(rows), *_decision(run)]
    # What happened comes first.
    return [_warnings(rows), *_held_out(rows), *sentences, *_cost(rows[-1]), *run.problems()]


def _held_out(rows: list[Row]) -> list[str]:
    """What became of the held-out scores, and of the user's own."""
    said = []
    for name, kind, sign, shown in (
        ("heldout_accuracy", "accuracy", -1.0, "{:.1%}"),
        ("heldout_loss", "loss", 1.0, "{:.4f}"),
    ):
        known = [row for row in rows if row.values[name] is not None]
        if known:
            best = min(known, key=lambda row: sign * float(row.values[name]))
            last, peak = shown.format(known[-1].values[name]), shown.format(best.values[name])
            low, high = (known[-1].values[f"{name}_{end}"] for end in ("lower", "upper"))
            interval = "" if low is None else f" [{shown.format(low)}, {shown.format(high)}]"
            said.append(
                f"Held-out {kind} ended at {last}{interval}; it was best at step {best.step:,} ({peak})."
            )
    return said


def _extent(run: Run) -> str:
    rows = run.rows.kept
    last = rows[-1]
    exact = [bool(row.values["exact"]) for row in rows]
    how = "exactly" if all(exact) else "in part exactly, in part by sampling" if any(exact) else "by sampling"
    span = f"step {last.step:,}" if len(rows) == 1 else f"steps {rows[0].step:,} to {last.step:,}"
    return (
        f"{counted(run.rows.total, 'probe')} over {span} measured {counted(len(last.layers), 'layer')} {how}."
    )


def _shares(rows: list[Row]) -> list[str]:
    shared = [row for row in rows if row.shared]
    if not shared:
        return []
    known = [row.values["measured"] for row in rows if row.values["measured"] is not None]
    measured = statistics.median_low(known)
    return [
        f"The {shared[-1].values['pairs']} pairs took turns, {measured} a probe at the median: the curves "
        "are composite estimates for all of them, as of a rotating panel."
    ]


def _phi(rows: list[Row]) -> str:
    last = rows[-1].values
    band = bounds(last["lower"], last["upper"])
    known = [row for row in rows if row.values["phi"] is not None]
    if not known:
        return "phi could not be computed."
    if len(known) == 1:
        return f"phi is {known[0].values['phi']:.4f}{band}."
    least = min(known, key=lambda row: float(row.values["phi"]))
    most = max(known, key=lambda row: float(row.values["phi"]))
    latest = "is unknown at the end" if last["phi"] is None else f"ended at {last['phi']:.4f}{band}"
    return (
        f"phi began at {known[0].values['phi']:.4f} and {latest}; it was lowest at step {least.step:,} "
        f"({least.values['phi']:.4f}) and highest at step {most.step:,} ({most.values['phi']:.4f})."
    )


def _layers(rows: list[Row]) -> str:
    last = rows[-1]
    first, _ = rows[0].in_order_of(last.layers)
    change = last.folding - first
    if not len(change) or np.isnan(change).all():
        return "No layer can be compared with the first probe."
    most = int(np.nanargmax(np.abs(change)))
    return (
        f"The layer that changed most is {last.layers[most]}: its folding went from {first[most]:.4f} to "
        f"{last.folding[most]:.4f}."
    )


def _decision(run: Run) -> list[str]:
    rows = run.rows.kept
    known = [row for row in rows if row.values["changes"] is not None]
    if len(known) < 2:
        return []
    sentences = [
        f"The predicted class changed {_changes(known[0]):.2f} times a path at first and "
        f"{_changes(known[-1]):.2f} times at the end."
    ]
    least = best_probe([row.step for row in rows], [{}] * len(rows), [row.values["changes"] for row in rows])
    if least is not None and rows[least.row] is not known[-1]:
        low = _changes(rows[least.row])
        rise = f"; the end lies {_changes(known[-1]) / low - 1:.0%} above" if low > 0 else ""
        sentences.append(
            f"After the first tenth it changed least at step {rows[least.row].step:,} ({low:.2f}{rise})."
        )
    best = run.best()
    if best is not None and best.why != LEAST_FOLDING:
        sentences.append(f"The best probe ({best.why}) is that of step {rows[best.row].step:,}.")
    return sentences


def _changes(row: Row) -> float:
    return float(row.values["changes"])


def _warnings(rows: list[Row]) -> str:
    events: list[dict[str, Any]] = [row.event for row in rows if row.event is not None]
    if not events:
        return "There was no warning."
    said = "; ".join(
        f"step {event['step']:,} (severity {event['severity']}): {joined(event['reasons'])}".rstrip(".")
        for event in events
    )
    return f"{counted(len(events), 'warning')}: {said}."


def _cost(last: Row) -> list[str]:
    share = last.values["overhead"]
    if share is None:
        return []
    skipped = last.values["skipped"]
    left = (
        f"; {counted(skipped, 'probe')} were skipped because the one before was still running"
        if skipped
        else ""
    )
    seconds = last.values["cost_seconds"]
    spent = "" if seconds is None else f"{seconds:.2f} s, "
    return [f"Measuring cost {spent}{share:.2%} of the training time{left}."]
