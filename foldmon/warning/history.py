"""The readings of a run so far, in bounded memory and at every time scale."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from foldmon.folding.results.statistics import Floats

CAPACITY = 128


class History:
    """Columns of readings, one entry a block of probes.

    A block is one probe at first. Whenever ``CAPACITY`` blocks are full, neighbours are joined to their
    mean, so that signals look at shares of the run, not at numbers of probes: they mean the same for a
    run of forty probes and for one of forty thousand.

    Attributes:
        steps: training step at the end of each block.

    Example:
        >>> from foldmon.warning.history import History
        >>> history = History()
        >>> history.add(10, {"phi": 0.5}), history.add(20, {"phi": float("nan")})
        (True, True)
        >>> history["phi"].tolist(), history.steps
        ([0.5, 0.5], [10, 20])
    """

    def __init__(self) -> None:
        self.steps: list[int] = []
        self._columns: dict[str, list[float]] = {}
        self._block = 1
        self._open: list[dict[str, float]] = []

    def __len__(self) -> int:
        return len(self.steps)

    def __getitem__(self, name: str) -> Floats:
        """Shape (B,), a reading in each block; a missing one is that of the block before it."""
        return filled(np.array(self._columns.get(name, [np.nan] * len(self)), dtype=np.float64))

    def knows(self, name: str) -> bool:
        """Whether the reading was ever given."""
        return bool(np.isfinite(self._columns.get(name, [])).any())

    def names(self, prefix: str) -> list[str]:
        """The readings whose names start so, without that start."""
        return [name.removeprefix(prefix) for name in self._columns if name.startswith(prefix)]

    def add(self, step: int, readings: Mapping[str, float]) -> bool:
        """Take in a probe; say whether it completed a block."""
        self._open.append(dict(readings))
        if len(self._open) < self._block:
            return False
        for name in self._columns.keys() | readings.keys():
            values = [entry.get(name, np.nan) for entry in self._open]
            column = self._columns.setdefault(name, [np.nan] * len(self))
            column.append(_mean(values))
        self.steps.append(int(step))
        self._open.clear()
        if len(self) >= CAPACITY:
            self._join()
        return True

    def _join(self) -> None:
        for name, column in self._columns.items():
            self._columns[name] = [_mean(column[i : i + 2]) for i in range(0, len(column), 2)]
        self.steps = self.steps[1::2]
        self._block *= 2

    def state_dict(self) -> dict[str, Any]:
        """The whole state, as plain JSON values."""
        return {
            "steps": list(self.steps),
            "columns": {name: list(column) for name, column in self._columns.items()},
            "block": self._block,
            "open": [dict(entry) for entry in self._open],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state."""
        self.steps = list(state["steps"])
        self._columns = {name: list(column) for name, column in state["columns"].items()}
        self._block = int(state["block"])
        self._open = [dict(entry) for entry in state["open"]]


def filled(values: Floats) -> Floats:
    """Values with gaps closed by the value before, those at the start by the first one.

    All zeros where nothing is finite: what was never measured never moves.
    """
    known = np.flatnonzero(np.isfinite(values))
    if not len(known):
        return np.zeros(len(values))
    place = np.searchsorted(known, np.arange(len(values)), side="right") - 1
    closed: Floats = values[known[np.maximum(place, 0)]]
    return closed


def _mean(values: list[float]) -> float:
    finite = [value for value in values if np.isfinite(value)]
    return float(np.mean(finite)) if finite else float("nan")
