"""The records of a journal, made from what was measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from foldmon.folding.results.coverage import Coverage
from foldmon.folding.results.report import FoldingReport

JOURNAL_VERSION = 1


def start_record(model: str, coverage: Coverage, config: Mapping[str, Any]) -> dict[str, Any]:
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


def probe_record(report: FoldingReport, logged: Mapping[str, float]) -> dict[str, Any]:
    """One measurement, and what the user logged since the last; the warning and the costs come later."""
    return {"kind": "probe", **report.to_dict(), "logged": dict(logged)}


def end_record(step: int, monitor: Mapping[str, float]) -> dict[str, Any]:
    """The run was closed in order."""
    return {"kind": "end", "step": step, "monitor": dict(monitor)}
