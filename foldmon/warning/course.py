"""Values of many members over a run, in bounded memory and on a scale of training time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from foldmon.folding.results.statistics import Floats, Ints

CAPACITY = 64
EARLY = 25
"""Steps added before the logarithm is taken: the first steps are long in it, but not endless."""


class Course:
    """Q quantities of N members (blocks of held-out inputs, layers), in at most 64 bins of training time.

    Time is the logarithm of the step, so that lags and widths are shares of the run so far, whatever the
    number of probes. A bin is one probe at first; when there are too many, the two neighbours are joined
    that are closest in this time. A probe may look at some of the members only.

    Args:
        members: N.
        quantities: Q.

    Attributes:
        steps: shape (G,), the last step of each bin, ascending.
        counts: shape (G, N), how often each member was looked at in each bin.
        sums: shape (G, Q, N), of the values then.

    Example:
        >>> import numpy as np
        >>> from foldmon.warning.course import Course
        >>> course = Course(members=3, quantities=1)
        >>> course.add(10, np.array([0, 2]), np.array([[0.5, 1.5]]))
        >>> course.add(20, np.array([1]), np.array([[2.0]]))
        >>> course.steps.tolist(), course.counts.tolist()
        ([10, 20], [[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
    """

    def __init__(self, members: int, quantities: int) -> None:
        self.steps: Ints = np.empty(0, dtype=np.int64)
        self.counts: Floats = np.empty((0, members))
        self.sums: Floats = np.empty((0, quantities, members))

    def __len__(self) -> int:
        return len(self.steps)

    @property
    def times(self) -> Floats:
        """Shape (G,), of the bins' ends."""
        found: Floats = training_time(self.steps)
        return found

    def add(self, step: int, rows: Ints, values: Floats) -> None:
        """Take in a probe.

        Args:
            step: not before that of the last probe; what was taken in of later steps is forgotten.
            rows: shape (R,), the members that it looked at.
            values: shape (Q, R), finite.
        """
        self._forget_after(step)
        count, sums = np.zeros(self.counts.shape[1]), np.zeros(self.sums.shape[1:])
        count[rows], sums[:, rows] = 1.0, values
        self.steps = np.append(self.steps, step)
        self.counts = np.concatenate([self.counts, count[None]])
        self.sums = np.concatenate([self.sums, sums[None]])
        if len(self) > CAPACITY:
            self._join_closest()

    def means(self, begin: int, end: int | None = None) -> Floats:
        """Shape (Q, N), of each member over bins; NaN where it was not looked at."""
        count = self.counts[begin:end].sum(0)
        with np.errstate(invalid="ignore"):
            found: Floats = self.sums[begin:end].sum(0) / count
        return found

    def values(self, end: int | None = None) -> Floats:
        """Shape (Q, G, N), means of each bin; NaN where a member was not looked at."""
        with np.errstate(invalid="ignore"):
            found: Floats = self.sums[:end].transpose(1, 0, 2) / self.counts[:end]
        return found

    def _forget_after(self, step: int) -> None:
        if len(self) and self.steps[-1] > step:
            kept = int(np.searchsorted(self.steps, step, side="right"))
            self.steps, self.counts, self.sums = self.steps[:kept], self.counts[:kept], self.sums[:kept]

    def _join_closest(self) -> None:
        times = self.times
        place = int((times[2:] - times[:-2]).argmin()) + 1
        for values in (self.counts, self.sums):
            values[place + 1] += values[place]
        self.steps = np.delete(self.steps, place)
        self.counts, self.sums = (np.delete(v, place, axis=0) for v in (self.counts, self.sums))

    def state_dict(self) -> dict[str, Any]:
        """The whole state, as plain JSON values; of each bin only the members looked at."""
        bins = []
        for step, count, sums in zip(self.steps.tolist(), self.counts, self.sums, strict=True):
            rows = np.flatnonzero(count)
            bins.append([step, rows.tolist(), count[rows].tolist(), sums[:, rows].tolist()])
        return {"members": self.counts.shape[1], "quantities": self.sums.shape[1], "bins": bins}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Course:
        """The course whose :meth:`state_dict` this is."""
        course = cls(state["members"], state["quantities"])
        for step, rows, counts, sums in state["bins"]:
            course.add(int(step), np.array(rows, dtype=np.int64), np.array(sums))
            course.counts[-1, rows] = counts
        return course


def training_time(steps: Any) -> Any:
    """The logarithm of steps, in which a tenth is a tenth of the run so far."""
    return np.log(np.asarray(steps, dtype=np.float64) + EARLY)
