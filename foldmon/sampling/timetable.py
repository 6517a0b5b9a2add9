"""When to probe: so often that the cost stays within its budget."""

from __future__ import annotations

import math
from collections import deque

import numpy as np

_FIRST_LOOK = 16  # steps after which the pace of training is known well enough


class Timetable:
    """Decides, step by step, whether a probe is due. It reads no clock: times are passed in, in seconds.

    With a fixed interval a probe is due at every multiple of it, whatever it costs. Otherwise one is due
    as soon as all probes so far and the one to come together cost at most ``budget`` of the time since
    the first step. The very first probe is always due: without it no cost is known. Time in which nothing
    was due (a long validation, a notebook left alone) gives no right to a burst of probes afterwards: two
    probes are at least half the average interval apart.

    Args:
        every: steps between probes, None to adapt to the budget.
        budget: allowed share of the training time, between 0 and 1.

    Example:
        >>> timetable = Timetable(every=None, budget=0.01)
        >>> timetable.start(now=0.0)
        >>> timetable.due(step=0, now=0.0)
        True
        >>> timetable.book(seconds=0.1, now=0.1)
        >>> [timetable.due(step=n, now=t) for n, t in ((1, 10.0), (2, 19.9), (3, 20.1))]
        [False, False, True]
    """

    def __init__(self, every: int | None, budget: float) -> None:
        self.every = every
        self.budget = budget
        self.cost = 0.0
        self._start: float | None = None
        self._recent: deque[float] = deque(maxlen=5)
        self._expected = 0.0
        self._not_before = 0.0

    def start(self, now: float) -> None:
        """Training begins (only the first call counts)."""
        if self._start is None:
            self._start = now

    def due(self, step: int, now: float) -> bool:
        """Whether to probe at this step."""
        if self.every is not None:
            return step % self.every == 0
        if now < self._not_before:
            return False
        return not self._recent or now >= self._earliest()

    def book(self, seconds: float, now: float) -> None:
        """A probe ended and cost this much."""
        self.cost += seconds
        self._recent.append(seconds)
        self._expected = float(np.median(self._recent))
        self._not_before = now + 0.5 * self.interval()

    def postpone(self, now: float) -> None:
        """The last probe still runs: ask again once another of its length could have ended."""
        self._not_before = now + max(self._expected, 0.01)

    def steps_ahead(self, taken: int, now: float) -> int:
        """After how many steps the next probe is due at the present pace, at least 1.

        For those who must know beforehand, since they cannot each look at a clock of their own.

        Args:
            taken: steps since the first.
            now: seconds.
        """
        elapsed = self._elapsed(now)
        if taken < 1 or elapsed <= 0:
            return _FIRST_LOOK
        return max(1, math.ceil((self._earliest() - now) * taken / elapsed))

    def overhead(self, now: float) -> float:
        """Share of the time since the first step that probes cost, 0 before it."""
        elapsed = self._elapsed(now)
        return self.cost / elapsed if elapsed > 0 else 0.0

    def interval(self) -> float:
        """Seconds from one probe to the next at the current cost; 0 with a fixed step interval."""
        return 0.0 if self.every is not None else self._expected / self.budget

    def _earliest(self) -> float:
        return (self._start or 0.0) + (self.cost + self._expected) / self.budget

    def _elapsed(self, now: float) -> float:
        return 0.0 if self._start is None else now - self._start
