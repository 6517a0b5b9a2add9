"""What each held-out input's value was at any time before, where inputs take turns."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from foldmon.folding.results.statistics import Floats, Ints
from foldmon.warning.course import Course

SMOOTHED = 0.1
"""Half width of what counts as one time, in logarithms of the step."""

Bools = npt.NDArray[np.bool_]


class Before:
    """The first bins of a course, interpolated in training time for each input.

    Between the times at which an input was looked at its value is taken to move evenly, and to stand before
    the first and after the last of them. Neighbouring times are averaged: a best time that owes its place to
    one lucky probe is none.

    Args:
        course: of inputs.
        size: of the blocks of neighbours that are always looked at together.
        end: number of bins that count.

    Attributes:
        seen: shape (B,), which blocks were looked at in these bins at all.
    """

    def __init__(self, course: Course, size: int, end: int) -> None:
        self._counts, self._sums, self._size = course.counts[:end], course.sums[:end], size
        looked = self._counts[:, ::size] > 0
        self.seen: Bools = looked.any(0)
        times, bins = course.times[:end], np.arange(end)[:, None]
        last = np.maximum.accumulate(np.where(looked, bins, -1), axis=0)
        following = np.minimum.accumulate(np.where(looked, bins, end)[::-1], axis=0)[::-1]
        self._last = np.where(last < 0, np.minimum(following, end - 1), last)
        self._next = np.where(following == end, self._last, following)
        gap = times[self._next] - times[self._last]
        since = times[bins] - times[self._last]
        self._share = np.divide(since, gap, out=np.zeros_like(gap), where=gap > 0)
        near = np.abs(times[:, None] - times) <= SMOOTHED
        self._kernel: Floats = near / near.sum(1, keepdims=True)

    def lowest(self, quantity: int, blocks: Bools) -> int:
        """The bin about which the mean over some blocks, shape (B,), was lowest."""
        counts = self._counts[:, :: self._size][:, blocks]
        sums = self._sums[:, quantity].reshape(len(counts), -1, self._size).mean(2)[:, blocks]
        values = sums / np.maximum(counts, 1.0)
        last, following, share = (part[:, blocks] for part in (self._last, self._next, self._share))
        early, late = (np.take_along_axis(values, bins, axis=0) for bins in (last, following))
        return int((self._kernel @ (early + share * (late - early)).mean(1)).argmin())

    def at(self, place: int, quantity: int, rows: Ints) -> Floats:
        """Shape (R,), the value of some inputs, shape (R,), about a bin; each was looked at."""
        blocks = rows // self._size
        columns, weights = np.arange(len(rows)), np.zeros((len(self._counts), len(rows)))
        for near in np.flatnonzero(self._kernel[place]):
            part, share = self._kernel[place, near], self._share[near, blocks]
            weights[self._last[near, blocks], columns] += part * (1.0 - share)
            weights[self._next[near, blocks], columns] += part * share
        used = np.flatnonzero(weights.any(1))
        counts, sums = self._counts[used][:, rows], self._sums[used, quantity][:, rows]
        found: Floats = (weights[used] * sums / np.maximum(counts, 1.0)).sum(0)
        return found
