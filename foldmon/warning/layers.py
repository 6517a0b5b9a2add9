"""What folding did while the model got worse, layer by layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from foldmon.journal.schema import Record
from foldmon.warning.course import Course, training_time
from foldmon.warning.logged import NEAR

_SMALL = 1e-3
"""Folding below this is none: its ratios mean nothing."""
_SAID = 1.2
"""A ratio that is worth a word."""
_MOST = 2


class LayerFolding:
    """The folding of every layer over the run; it begins anew where the model has other layers."""

    def __init__(self) -> None:
        self._names: tuple[str, ...] = ()
        self._course = Course(0, 1)

    def add(self, step: int, record: Record) -> None:
        """Take in a probe."""
        names, values = tuple(record.get("layers") or ()), np.asarray(record.get("folding") or (), np.float64)
        if len(names) != len(values) or not len(names):
            return
        if names != self._names:
            self._names, self._course = names, Course(len(names), 1)
        known = np.flatnonzero(np.isfinite(values))
        self._course.add(step, known, values[None, known])

    def sentence(self, step: int, window: float) -> str:
        """In which layers folding moved most since about a step; empty where it was not measured then."""
        times = self._course.times
        begin = int(np.searchsorted(times, times[-1] - window, side="right")) if len(times) else 0
        near = np.flatnonzero(np.abs(times[:begin] - training_time(step)) <= NEAR)
        if not len(near):
            return ""
        then, now = self._course.values[near, 0].mean(0), self._course.values[begin:, 0].mean(0)
        ratio = (now + _SMALL) / (then + _SMALL)
        up = float(ratio.max()) >= 1.0 / float(ratio.min())
        moved = ratio if up else 1.0 / ratio
        most = np.argsort(-moved, kind="stable")[:_MOST]
        most = most[moved[most] >= max(_SAID, 0.7 * float(moved.max()))]
        if not len(most):
            return "Folding hardly moved."
        names = " and ".join(self._names[place] for place in most)
        size = f"{ratio[most[0]]:.2g} times" if up else f"to {ratio[most[0]]:.0%}"
        verb = "rose" if up else "fell"
        return f"Folding {verb} most in layer{'s' * (len(most) > 1)} {names} ({size})."

    def state_dict(self) -> dict[str, Any]:
        """The whole state, as plain JSON values."""
        return {"names": list(self._names), "course": self._course.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state."""
        self._names, self._course = tuple(state["names"]), Course.from_state(state["course"])
