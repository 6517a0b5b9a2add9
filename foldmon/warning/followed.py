"""The held-out inputs of a run: what is followed of each, probe after probe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from foldmon.folding.results.blocks import BLOCKS
from foldmon.folding.results.statistics import Floats, Ints
from foldmon.warning.contrast import Bools, Contrast, lowest_step, rise, smoothed
from foldmon.warning.course import Course
from foldmon.warning.votes import Votes

FIRST, DIVERSE = 50, 0.6
"""Without labels no best time is before this step, nor where predicted classes have less than this share of
the highest entropy: before a model has learned, and on plateaus, it says one class of all inputs, and nothing
turns."""
SETTLED = 0.5
"""What turned has settled where it has fallen to this share of its earlier peak."""

Values = dict[str, npt.NDArray[np.float64]]


class Followed:
    """Error, loss and turning of each held-out input, as far as the records tell them.

    It begins anew where other inputs are followed, or other quantities known. Neighbours that the panel
    always looks at together are followed by their mean; they are in random order.
    """

    def __init__(self) -> None:
        self._names: tuple[str, ...] = ()
        self._begin_with((), 0, 1)

    def _begin_with(self, names: tuple[str, ...], inputs: int, size: int) -> None:
        self._names, self._inputs, self._size = names, inputs, size
        self._course, self._votes = Course(inputs // size, len(names)), Votes(inputs)
        self._spread = Course(1, 1)  # entropy of the predicted classes

    def add(self, step: int, held_out: Mapping[str, Any], classes: int = 0) -> bool:
        """Take in a probe.

        Args:
            step: training step.
            held_out: of the record.
            classes: number of classes of the model's output, 0 where it is not known.

        Returns:
            Whether it tells of any input.
        """
        inputs, rows, values = _read(held_out)
        if not values:
            return False
        size = _block(inputs, rows)
        if (tuple(values), inputs, size) != (self._names, self._inputs, self._size):
            self._begin_with(tuple(values), inputs, size)
        if "turned" in values:
            predicted = values["turned"].astype(np.int64)
            turned = self._votes.turned(step, rows, predicted, classes or int(predicted.max()) + 1)
            values["turned"] = turned[rows]
            # What an input is held to be changes with time, also of one that is not looked at.
            self._course.latest[self._names.index("turned")] = turned.reshape(-1, size).mean(1)
            self._spread.add(step, np.arange(1), np.array([[self._votes.entropy]]))
        columns = np.stack([_finite(values[name]) for name in self._names])
        blocks = columns.reshape(len(columns), -1, size).mean(2)
        self._course.add(step, rows[::size] // size, blocks)
        return True

    def tests(self, *, learned: bool) -> dict[str, Contrast]:
        """Every quantity's rise above its lowest, where there are inputs enough.

        Args:
            learned: whether the training loss is low. Until then, and where none is known, a best time of
                what turned is one at which it had settled.
        """
        found = {}
        for place, name in enumerate(self._names):
            test = rise(self._course, place, self._allowed(name, learned))
            if test is not None:
                found[name] = replace(test, inputs=test.inputs * self._size)
        return found

    def lowest_step(self, name: str, *, learned: bool = True) -> int | None:
        """The step at which a quantity was lowest, None where it is not known."""
        if name not in self._names:
            return None
        return lowest_step(self._course, self._names.index(name), self._allowed(name, learned))

    def _allowed(self, name: str, learned: bool) -> Bools | None:
        """Which bins may be the best time: of what labels tell any."""
        if name != "turned":
            return None
        steps = self._course.steps
        spread = np.interp(steps, self._spread.steps, self._spread.values[:, 0, 0])
        allowed: Bools = (steps >= FIRST) & (spread >= DIVERSE)
        if not learned:
            level = smoothed(self._course, self._names.index(name)).mean(1)
            allowed &= level <= SETTLED * np.maximum.accumulate(level)
        return allowed

    def state_dict(self) -> dict[str, Any]:
        """The whole state, as plain JSON values."""
        return {
            "names": list(self._names),
            "inputs": self._inputs,
            "size": self._size,
            "course": self._course.state_dict(),
            "votes": self._votes.state_dict(),
            "spread": self._spread.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state."""
        self._names, self._inputs = tuple(state["names"]), int(state["inputs"])
        self._size = int(state["size"])
        self._course = Course.from_state(state["course"])
        self._votes = Votes.from_state(state["votes"])
        self._spread = Course.from_state(state["spread"])


def _read(held_out: Mapping[str, Any]) -> tuple[int, Ints, Values]:
    """The number of inputs, those looked at, and what is known of them, one value each."""
    inputs, measured = int(held_out.get("inputs") or 0), held_out.get("measured")
    rows = np.arange(inputs) if measured is None else np.asarray(measured, dtype=np.int64)
    columns = (("error", "correct"), ("loss", "losses"), ("turned", "predicted"))
    found = {name: _numbers(held_out.get(key)) for name, key in columns}
    values = {name: v for name, v in found.items() if v is not None and len(v) == len(rows) > 0}
    if "error" in values:
        values["error"] = 1.0 - values["error"]
    return inputs, rows, values


def _numbers(values: Any) -> npt.NDArray[np.float64] | None:
    if values is None:
        return None
    try:
        found = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):  # not a number each
        return None
    return found if found.ndim == 1 else None


def _block(inputs: int, rows: Ints) -> int:
    """Size of the blocks of the panel; inputs that come in any other way stand for themselves."""
    size = max(1, inputs // BLOCKS)
    whole = len(rows) % size == 0 and bool((rows.reshape(-1, size) % size == np.arange(size)).all())
    return size if whole and inputs % size == 0 else 1


def _finite(values: Floats) -> Floats:
    """A loss that is not finite counts as the largest that is: how much larger no mean could tell."""
    known = np.isfinite(values)
    return values if known.all() else np.where(known, values, values[known].max(initial=0.0))
