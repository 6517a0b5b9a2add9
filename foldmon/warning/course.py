"""Values of many members over a run, in bounded memory and on a scale of training time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from foldmon.folding.results.statistics import Floats, Ints

CAPACITY = 128
EARLY = 25
"""Steps added before the logarithm is taken: the first steps are long in it, but not endless."""


class Course:
    """Q quantities of B members (blocks of held-out inputs, layers), in at most 128 bins of training time.

    Members may take turns: what is not looked at keeps its latest value, and the course begins once each
    has one. Time is the logarithm of the step, so that widths are shares of the run so far, whatever the
    number of probes. A bin is one probe at first; when there are too many, the two neighbours are joined to
    their mean that are closest in this time.

    Args:
        members: B.
        quantities: Q.

    Attributes:
        latest: shape (Q, B), NaN where a member was not looked at yet.
        steps: shape (G,), the last step of each bin, ascending.
        values: shape (G, Q, B), means of each bin.

    Example:
        >>> import numpy as np
        >>> from foldmon.warning.course import Course
        >>> course = Course(members=2, quantities=1)
        >>> for step, member, value in ((10, 0, 0.5), (20, 1, 2.0), (30, 0, 1.5)):
        ...     course.add(step, np.array([member]), np.array([[value]]))
        >>> course.steps.tolist(), course.values.tolist()
        ([20, 30], [[[0.5, 2.0]], [[1.5, 2.0]]])
    """

    def __init__(self, members: int, quantities: int) -> None:
        self.latest: Floats = np.full((quantities, members), np.nan)
        self.steps: Ints = np.empty(0, dtype=np.int64)
        self.values: Floats = np.empty((0, quantities, members))
        self._counts: Floats = np.empty(0)

    def __len__(self) -> int:
        return len(self.steps)

    @property
    def times(self) -> Floats:
        """Shape (G,), of the bins' ends."""
        found: Floats = training_time(self.steps)
        return found

    def add(self, step: int, members: Ints, values: Floats) -> None:
        """Take in a probe.

        Args:
            step: not before that of the last probe; what was taken in of later steps is forgotten.
            members: shape (R,), those that it looked at.
            values: shape (Q, R), finite.
        """
        kept = int(np.searchsorted(self.steps, step, side="right"))
        if kept < len(self):
            self.steps, self.values = self.steps[:kept], self.values[:kept]
            self._counts = self._counts[:kept]
        self.latest[:, members] = values
        if np.isnan(self.latest).any():
            return
        self.steps = np.append(self.steps, step)
        self.values = np.concatenate([self.values, self.latest[None]])
        self._counts = np.append(self._counts, 1.0)
        if len(self) > CAPACITY:
            self._join_closest()

    def _join_closest(self) -> None:
        times = self.times
        place = int((times[2:] - times[:-2]).argmin()) + 1
        first, second = self._counts[place : place + 2]
        joined = (first * self.values[place] + second * self.values[place + 1]) / (first + second)
        self.values[place + 1], self._counts[place + 1] = joined, first + second
        self.steps, self._counts = np.delete(self.steps, place), np.delete(self._counts, place)
        self.values = np.delete(self.values, place, axis=0)

    def state_dict(self) -> dict[str, Any]:
        """The whole state, as plain JSON values (None for NaN)."""
        latest = [[None if np.isnan(value) else value for value in row] for row in self.latest.tolist()]
        return {
            "shape": list(self.latest.shape),
            "latest": latest,
            "steps": self.steps.tolist(),
            "values": self.values.tolist(),
            "counts": self._counts.tolist(),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Course:
        """The course whose :meth:`state_dict` this is."""
        quantities, members = state["shape"]
        course = cls(members, quantities)
        course.latest[:] = np.array(state["latest"], dtype=np.float64).reshape(quantities, members)
        course.steps = np.array(state["steps"], dtype=np.int64)
        course.values = np.array(state["values"], dtype=np.float64).reshape(len(course), quantities, members)
        course._counts = np.array(state["counts"], dtype=np.float64)
        return course


def training_time(steps: Any) -> Any:
    """The logarithm of steps, in which a tenth is a tenth of the run so far."""
    return np.log(np.asarray(steps, dtype=np.float64) + EARLY)
