"""The paired test: are the same held-out inputs worse off now than at the best time of the run?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from foldmon.folding.results.statistics import Floats
from foldmon.warning.before import Before
from foldmon.warning.course import Course

LEAST = 64
"""Inputs that a test needs, where there are so many."""


@dataclass(frozen=True)
class Contrast:
    """How much higher a quantity is now than at its lowest, over the same inputs.

    Attributes:
        rise: mean of the paired differences.
        error: their standard error, above 0.
        inputs: number of inputs compared.
    """

    rise: float
    error: float
    inputs: int

    @property
    def z(self) -> float:
        """The rise in standard errors."""
        return self.rise / self.error

    @property
    def chance(self) -> float:
        """The p-value, one-sided: how often chance alone would show as much at one look."""
        return NormalDist().cdf(-self.z)


def contrasts(course: Course, size: int, window: float) -> list[Contrast] | None:
    """Every quantity now against its lowest before, over the inputs looked at in both.

    The lowest time is chosen on one half of the inputs and judged on the other, both ways round, so that
    choosing it costs nothing (cross-fitting: Chernozhukov et al. 2018, "Double/debiased machine learning").
    Inputs drawn at random differ independently: their spread tells the error of the mean.

    Args:
        course: Q quantities of inputs in random order.
        size: of the blocks of neighbours that are always looked at together.
        window: length of what counts as now, in logarithms of the step.

    Returns:
        Q of them; None where too few inputs can be compared.
    """
    start = int(np.searchsorted(course.times, course.times[-1] - window, side="right"))
    if not start:
        return None
    before = Before(course, size, start)
    rows = np.repeat(before.seen, size) & (course.counts[start:].sum(0) > 0)
    odd = np.arange(len(before.seen)) % 2 == 1
    halves = [(before.seen & ~odd, before.seen & odd), (before.seen & odd, before.seen & ~odd)]
    if rows.sum() < min(LEAST, len(rows)) or not all(chosen.any() for chosen, _ in halves):
        return None
    now = course.means(start)
    found = []
    for quantity in range(len(now)):
        parts = []
        for chosen, judged in halves:
            own = np.flatnonzero(rows & np.repeat(judged, size))
            lowest = before.lowest(quantity, chosen)
            parts.append(now[quantity, own] - before.at(lowest, quantity, own))
        found.append(contrast(np.concatenate(parts)))
    return found


def contrast(differences: Floats) -> Contrast:
    """Mean and standard error of paired differences, shape (R,).

    One more as large as the largest is added to their squares: where nearly all are 0 the spread would be
    judged by one or two.
    """
    count, rise = len(differences), float(differences.mean())
    squares = float((differences**2).sum() + np.max(differences**2, initial=0.0)) / count
    return Contrast(rise, math.sqrt(max(squares - rise**2, 0.0) / count) + 1e-12, count)


def lowest_step(course: Course, size: int, quantity: int) -> int:
    """The step about which the mean over all inputs was lowest."""
    before = Before(course, size, len(course))
    return int(course.steps[before.lowest(quantity, before.seen)])
