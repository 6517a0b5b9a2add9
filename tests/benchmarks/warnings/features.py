"""The signals of a stored run at every probe, computed by foldmon's own code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from foldmon.warning.detector import HOLD, WARM_UP
from foldmon.warning.history import filled
from foldmon.warning.readings import LAYER, read
from foldmon.warning.signals import SHAPES
from foldmon.warning.votes import Votes
from tests.benchmarks.warnings.truth import Outcome, column, outcome

_PAIRED = ("phi", "crossings", "changes", "elsewhere")
Key = tuple[str, str]


@dataclass(frozen=True)
class Run:
    """A stored run, reduced to signals.

    Attributes:
        spec: what was trained.
        outcome: what became of it.
        signals: (reading, shape) to a value at each probe. Readings that start with "gap " are held-out
            minus training pairs; "weights" is the log norm of the weights.
    """

    spec: dict[str, Any]
    outcome: Outcome
    signals: dict[Key, np.ndarray]

    @property
    def probes(self) -> int:
        return len(next(iter(self.signals.values())))


def as_run(stored: dict[str, Any]) -> Run:
    """Signals and outcome of a line of the store."""
    votes = Votes()
    columns: dict[str, list[float]] = {}
    for record, seen, weights in zip(
        stored["records"], stored["training_records"], column(stored, "weight_norm"), strict=True
    ):
        readings = read(record) | votes.read(record)
        on_training = read(seen)
        readings |= {f"gap {name}": readings[name] - on_training[name] for name in _PAIRED}
        readings["weights"] = float(np.log(weights))
        for name, value in readings.items():
            if not name.startswith(LAYER):
                columns.setdefault(name, []).append(value)
    signals = {(name, shape): _course(values, shape) for name, values in columns.items() for shape in SHAPES}
    return Run(stored["spec"], outcome(stored), signals)


def _course(values: list[float], shape: str) -> np.ndarray:
    """A shape at every probe, from what was known by then."""
    known = np.array(values)
    return np.array([SHAPES[shape](filled(known[: end + 1])) for end in range(len(known))])


def held(scores: np.ndarray) -> np.ndarray:
    """The lowest of each three scores in a row, -inf before a detector may speak."""
    lowest = np.full(len(scores), -np.inf)
    first = WARM_UP + HOLD - 1
    if len(scores) > first:
        lowest[first:] = np.lib.stride_tricks.sliding_window_view(scores[WARM_UP:], HOLD).min(axis=1)
    return lowest
