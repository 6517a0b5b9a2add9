"""The signals of a stored run at every probe, computed by foldmon's own code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from foldmon.warning.consensus import Consensus
from foldmon.warning.detector import HOLD, WARM_UP
from foldmon.warning.forest import Key
from foldmon.warning.history import filled
from foldmon.warning.readings import LAYER
from foldmon.warning.signals import SHAPES, signals
from tests.benchmarks.warnings.readings import read
from tests.benchmarks.warnings.truth import Outcome, column, outcome

PAIRED = ("phi", "crossings", "changes", "elsewhere", "doubt")
"""Readings of which held-out minus training pairs is a signal too."""


@dataclass(frozen=True, eq=False)
class Run:
    """A stored run, reduced to signals.

    Attributes:
        spec: what was trained.
        outcome: what became of it.
        signals: (reading, shape) to a value at each probe. Readings that start with "gap " are held-out
            minus training pairs; "weights" is the log norm of the weights; "labelled" the log loss of the
            probes' own held-out inputs, "all labelled" of the whole validation set.
    """

    spec: dict[str, Any]
    outcome: Outcome
    signals: dict[Key, np.ndarray]

    @property
    def probes(self) -> int:
        return len(next(iter(self.signals.values())))

    @property
    def family(self) -> str:
        return str(self.spec["data"])


def as_run(stored: dict[str, Any]) -> Run:
    """Signals and outcome of a line of the store."""
    columns = _columns(stored)
    courses = np.stack([filled(np.array(values)) for values in columns.values()], axis=1)
    found = np.stack([signals(courses[: end + 1]) for end in range(len(courses))])
    by_key = {
        (name, shape): found[:, place, number].astype(np.float32)
        for place, name in enumerate(columns)
        for number, shape in enumerate(SHAPES)
    }
    return Run(stored["spec"], outcome(stored), by_key)


def _columns(stored: dict[str, Any]) -> dict[str, list[float]]:
    """Readings by name, a value a probe."""
    consensus = Consensus()
    columns: dict[str, list[float]] = {}
    for record, seen in zip(stored["records"], stored["training_records"], strict=True):
        readings = read(record) | consensus.read(record)
        on_training = read(seen)
        readings |= {f"gap {name}": readings[name] - on_training[name] for name in PAIRED}
        for name, value in readings.items():
            if not name.startswith(LAYER):
                columns.setdefault(name, []).append(value)
    columns["weights"] = np.log(column(stored, "weight_norm")).tolist()
    for name, loss in (("labelled", "ends_loss"), ("all labelled", "loss")):
        columns[name] = np.log(np.array(column(stored, loss)) + 0.02).tolist()
    return columns


def held(scores: np.ndarray) -> np.ndarray:
    """The lowest of each three scores in a row, -inf before a detector may speak."""
    lowest = np.full(len(scores), -np.inf)
    first = WARM_UP + HOLD - 1
    if len(scores) > first:
        lowest[first:] = np.lib.stride_tricks.sliding_window_view(scores[WARM_UP:], HOLD).min(axis=1)
    return lowest
