"""What the user logs: the training loss, and a validation loss."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from foldmon.warning.course import Course, training_time

Trend = Literal["falls", "rises", "stands"]

LEARNED, _BEGIN, _RECENT = 0.5, 4, 3
"""What share of the largest of its first four values the mean of the last three must have fallen to."""
NEAR = 0.1
"""Logarithm of the step within which is one time."""
_MOVED = 0.03
"""A loss that differs by less than this share stands."""
MARGIN, FLOOR = 0.10, 0.02
"""A logged validation loss is past its best when above it by 10% and 0.02."""
HOLD = 3
"""Values in a row that say so."""


class LoggedLoss:
    """One loss over the run."""

    def __init__(self) -> None:
        self._course = Course(1, 1)
        self._first: list[float] = []
        self._latest: list[float] = []

    @property
    def learned(self) -> bool | None:
        """Whether the loss has fallen to half of what it began with; None where none is logged.

        Before, nothing has been learned by heart: what changes, changes by learning.
        """
        if not self._first:
            return None
        return sum(self._latest) / len(self._latest) <= LEARNED * max(self._first)

    def add(self, step: int, value: Any) -> bool:
        """Take in what was logged since the last probe; False where that is no finite number."""
        if not isinstance(value, int | float) or not math.isfinite(value):
            return False
        self._course.add(step, np.arange(1), np.array([[float(value)]]))
        self._latest = [*self._latest, float(value)][-_RECENT:]
        if len(self._first) < _BEGIN:
            self._first.append(float(value))
        return True

    def since(self, step: int, window: float) -> Trend | None:
        """Where the loss went from about a step to now; None where it was not logged then and now."""
        times = self._course.times
        if not len(times):
            return None
        values = self._course.values[:, 0, 0]
        then = values[np.abs(times - training_time(step)) <= NEAR]
        now = values[times > times[-1] - window]
        if not len(then) or training_time(step) > times[-1] - window:
            return None
        change = float(now.mean() - then.mean()) / max(abs(float(then.mean())), 1e-12)
        return "falls" if change < -_MOVED else "rises" if change > _MOVED else "stands"

    def state_dict(self) -> dict[str, Any]:
        """The whole state, as plain JSON values."""
        return {
            "course": self._course.state_dict(),
            "first": list(self._first),
            "latest": list(self._latest),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state."""
        self._course = Course.from_state(state["course"])
        self._first, self._latest = list(state["first"]), list(state["latest"])


class ValidationLoss:
    """A validation loss that the user logs: the whole set's, so that three values in a row are enough.

    Attributes:
        best, best_step: the lowest value so far and its step; infinite and 0 before the first.
        now: the latest value.
    """

    def __init__(self) -> None:
        self.best, self.best_step, self.now = math.inf, 0, math.nan
        self._latest: list[float] = []

    def add(self, step: int, value: Any) -> None:
        """Take in what was logged since the last probe, if anything."""
        if not isinstance(value, int | float) or not math.isfinite(value):
            return
        self.now = float(value)
        if self.now < self.best:
            self.best, self.best_step = self.now, step
        self._latest = [*self._latest, self.now][-HOLD:]

    @property
    def strength(self) -> float:
        """How far the least of the last three values is above the best, 1 at the mark; 0 before there are."""
        if len(self._latest) < HOLD:
            return 0.0
        return max(0.0, (min(self._latest) - self.best) / (MARGIN * abs(self.best) + FLOOR))

    def state_dict(self) -> dict[str, Any]:
        """The whole state, as plain values."""
        return {"best": self.best, "best_step": self.best_step, "now": self.now, "latest": list(self._latest)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state."""
        self.best, self.best_step = float(state["best"]), int(state["best_step"])
        self.now, self._latest = float(state["now"]), [float(value) for value in state["latest"]]
