"""The held-out inputs of a run: what is followed of each, probe after probe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from foldmon.folding.results.blocks import BLOCKS
from foldmon.folding.results.statistics import Floats, Ints
from foldmon.journal.schema import Record
from foldmon.warning.contrast import Contrast, contrasts, lowest_step
from foldmon.warning.course import Course
from foldmon.warning.votes import Votes

WINDOWS = (0.0, 0.05, 0.1, 0.2, 0.4)
"""Lengths of what counts as now, in logarithms of the step: the latest probe, a twentieth of the run, ..."""
DEPTHS = {"error": 0.0, "loss": 0.0, "turned": 0.1}
"""How far a quantity must have fallen before it can have been at its lowest.

Predictions turn while the model learns, and before it does hardly any do: that is no best time.
"""


class Followed:
    """Error, loss and turning of each held-out input, as far as the records tell them.

    It begins anew where other inputs are followed, or other quantities known.

    Attributes:
        size: inputs of a block: neighbours that the panel always looks at together are followed by their
            mean. They are in random order.
    """

    def __init__(self) -> None:
        self._course = Course(0, 0)
        self._votes = Votes(0)
        self._names: tuple[str, ...] = ()
        self._inputs = 0
        self.size = 1

    def add(self, step: int, held_out: Mapping[str, Any]) -> bool:
        """Take in a record's ``held_out``; False where it tells of no input."""
        inputs = int(held_out.get("inputs") or 0)
        values = _values(held_out)
        rows = _rows(held_out, inputs)
        values = {name: value for name, value in values.items() if len(value) == len(rows)}
        if not len(rows) or not values:
            return False
        self._begin(tuple(values), inputs, rows)
        if "turned" in values:
            values["turned"] = self._votes.turned(step, rows, values["turned"].astype(np.int64))
        columns = np.stack([_finite(values[name]) for name in self._names])
        blocks = columns.reshape(len(columns), -1, self.size).mean(2)
        self._course.add(step, rows[:: self.size] // self.size, blocks)
        return True

    def _begin(self, names: tuple[str, ...], inputs: int, rows: Ints) -> None:
        size = max(1, inputs // BLOCKS)
        # Blocks as the panel measures them; inputs that come in any other way stand for themselves.
        whole = len(rows) % size == 0 and bool((rows.reshape(-1, size) % size == np.arange(size)).all())
        size = size if whole and inputs % size == 0 else 1
        if (names, inputs, size) != (self._names, self._inputs, self.size):
            self._names, self._inputs, self.size = names, inputs, size
            self._course, self._votes = Course(inputs // size, len(names)), Votes(inputs)

    def tests(self) -> dict[str, list[Contrast]]:
        """Every quantity's rise above its lowest, for each length of now that there are inputs enough for."""
        found: dict[str, list[Contrast]] = {name: [] for name in self._names}
        depths = np.array([DEPTHS[name] for name in self._names])
        for window in WINDOWS:
            tests = contrasts(self._course, window, depths) or ()
            for name, test in zip(self._names, tests, strict=False):
                found[name].append(replace(test, inputs=test.inputs * self.size))
        return found

    def lowest_step(self, name: str) -> int | None:
        """The step at which a quantity was lowest, None where it is not known."""
        if name not in self._names:
            return None
        return lowest_step(self._course, self._names.index(name), DEPTHS[name])

    def state_dict(self) -> dict[str, Any]:
        """The whole state, as plain JSON values."""
        return {
            "names": list(self._names),
            "inputs": self._inputs,
            "size": self.size,
            "course": self._course.state_dict(),
            "votes": self._votes.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state."""
        self._names, self._inputs = tuple(state["names"]), int(state["inputs"])
        self.size = int(state["size"])
        self._course = Course.from_state(state["course"])
        self._votes = Votes.from_state(state["votes"])


def _values(held_out: Mapping[str, Any]) -> dict[str, Floats]:
    """What is known of the inputs looked at, one value each."""
    known = {
        "error": _numbers(held_out.get("correct")),
        "loss": _numbers(held_out.get("losses")),
        "turned": _numbers(held_out.get("predicted")),
    }
    found = {name: values for name, values in known.items() if values is not None}
    if "error" in found:
        found["error"] = 1.0 - found["error"]
    return found


def _numbers(values: Any) -> npt.NDArray[np.float64] | None:
    if values is None:
        return None
    try:
        found = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):  # not a number each
        return None
    return found if found.ndim == 1 and len(found) else None


def _rows(held_out: Record, inputs: int) -> Ints:
    measured = held_out.get("measured")
    return np.arange(inputs) if measured is None else np.asarray(measured, dtype=np.int64)


def _finite(values: Floats) -> Floats:
    """A loss that is not finite counts as the largest that is: how much larger no mean could tell."""
    known = np.isfinite(values)
    return values if known.all() else np.where(known, values, values[known].max(initial=0.0))
