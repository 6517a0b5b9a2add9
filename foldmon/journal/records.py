"""The records that a monitor writes, made from what was measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from foldmon.folding.results.coverage import Coverage
from foldmon.journal.schema import (
    JOURNAL_VERSION,
    End,
    Measurement,
    Probe,
    ProbeCosts,
    Record,
    RunCosts,
    WarningEntry,
)


def start_record(model: str, coverage: Coverage, config: Mapping[str, Any]) -> Record:
    """What a run measures, and with which options."""
    return {
        "kind": "start",
        "version": JOURNAL_VERSION,
        "model": model,
        "coverage": {
            "sites": dict(coverage.sites),
            "not_covered": dict(coverage.not_covered),
            "kinks": dict(coverage.kinks),
            "notes": list(coverage.notes),
        },
        "config": dict(config),
    }


def probe_record(
    measured: Mapping[str, Any], logged: Mapping[str, float], warning: WarningEntry, costs: ProbeCosts
) -> Probe:
    """One measurement, with all that stands beside it.

    Args:
        measured: ``FoldingReport.to_dict()``.
        logged: what the user logged since the probe before.
        warning: what the alarm made of both.
        costs: of this probe, and of all so far.
    """
    report = cast(Measurement, measured)
    return {"kind": "probe", **report, "logged": dict(logged), "warning": warning, "monitor": costs}


def end_record(step: int, costs: RunCosts) -> End:
    """The run was closed in order."""
    return {"kind": "end", "step": step, "monitor": costs}
