"""Recall, false alarms and lead of each detector, with bootstrap intervals over runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from tests.benchmarks.warnings.detectors import Verdicts
from tests.benchmarks.warnings.features import Run

_RESAMPLES = 1000


def summary(verdicts: Sequence[Verdicts], runs: Sequence[Run]) -> str:
    """A row a detector, as a markdown table."""
    head = (
        "| detector | needs besides | recall, clear | recall, slight | false alarms | before onset | "
        "earlier than patience 5 | than patience 10 | median lead over onset | over patience 5 |\n"
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n"
    )
    return head + "".join(f"| {' | '.join(_row(verdict, runs))} |\n" for verdict in verdicts)


def _row(verdict: Verdicts, runs: Sequence[Run]) -> list[str]:
    warned = verdict.warned
    kinds = np.array([run.outcome.kind for run in runs])
    hit = np.array([probe is not None for probe in warned], dtype=float)
    degraded = [place for place, kind in enumerate(kinds) if kind != "healthy"]
    before = [_before(warned[place], runs[place].outcome.onset) for place in degraded]
    first = {p: [_before(warned[i], runs[i].outcome.stops[p]) for i in degraded] for p in (5, 10)}
    caught = [place for place in degraded if warned[place] is not None]
    leads = [runs[i].outcome.onset - warned[i] for i in caught]
    over = [runs[i].outcome.stops[5] - warned[i] for i in caught if runs[i].outcome.stops[5] is not None]
    return [
        verdict.name,
        verdict.needs,
        *(share(hit[kinds == kind]) for kind in ("clear", "slight", "healthy")),
        share(before),
        share(first[5]),
        share(first[10]),
        _median(leads),
        _median(over),
    ]


def _before(warned: int | None, event: int | None) -> bool:
    return warned is not None and (event is None or warned < event)


def share(flags: Sequence[bool] | np.ndarray) -> str:
    """Percentage and its 95% bootstrap interval."""
    values = np.asarray(flags, dtype=float)
    if not len(values):
        return "none"
    low, high = _interval(values, lambda drawn: drawn.mean(1))
    return f"{100 * values.mean():.0f}% [{100 * low:.0f}, {100 * high:.0f}]"


def _median(values: Sequence[float]) -> str:
    if not values:
        return "none"
    low, high = _interval(np.asarray(values, dtype=float), lambda drawn: np.median(drawn, 1))
    return f"{np.median(values):+.0f} [{low:+.0f}, {high:+.0f}]"


def _interval(values: np.ndarray, statistic: Callable[[np.ndarray], np.ndarray]) -> tuple[float, float]:
    rows = np.random.default_rng(0).integers(len(values), size=(_RESAMPLES, len(values)))
    low, high = np.quantile(statistic(values[rows]), (0.025, 0.975))
    return float(low), float(high)


def by_group(verdict: Verdicts, runs: Sequence[Run], field: str) -> str:
    """Warned runs of each value of a field of the specification, as a markdown table."""
    lines = [
        f"| {field} | clear: warned of | slight: warned of | healthy: false alarms |\n",
        "| --- | --- | --- | --- |\n",
    ]
    for value in sorted({run.spec[field] for run in runs}):
        group = [
            (run, warned)
            for run, warned in zip(runs, verdict.warned, strict=True)
            if run.spec[field] == value
        ]
        cells = []
        for kind in ("clear", "slight", "healthy"):
            hits = [warned is not None for run, warned in group if run.outcome.kind == kind]
            cells.append(f"{sum(hits)} of {len(hits)}" if hits else "")
        lines.append(f"| {value} | {' | '.join(cells)} |\n")
    return "".join(lines)
