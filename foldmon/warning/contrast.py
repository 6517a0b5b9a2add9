"""The paired test: are the same held-out inputs worse off now than at the best time of the run?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from foldmon.folding.results.statistics import Floats
from foldmon.warning.course import Course

Bools = npt.NDArray[np.bool_]

SMOOTHED = 3
"""Bins that the best time is the mean of; now is the latest value of every input, not smoothed."""
LEAST = 8
"""Blocks that a test needs."""


@dataclass(frozen=True)
class Contrast:
    """How much higher a quantity is now than at its lowest, over the same inputs.

    Attributes:
        rise: mean of the paired differences between blocks of inputs.
        z: that in standard errors, as a normal deviate: few blocks tell less of their spread.
        inputs: number of inputs compared.
    """

    rise: float
    z: float
    inputs: int

    @property
    def chance(self) -> float:
        """The p-value, one-sided: how often chance alone would show as much at one look."""
        return NormalDist().cdf(-self.z)


def rise(course: Course, quantity: int, allowed: Bools | None = None) -> Contrast | None:
    """A quantity now against its lowest before, over the same blocks of inputs.

    The lowest time is chosen on one half of the blocks and judged on the other, both ways round, so that
    choosing it costs nothing (cross-fitting: Chernozhukov et al. 2018, "Double/debiased machine learning").
    Inputs drawn at random differ independently: the spread between blocks tells the error of the mean.

    Args:
        course: of blocks of inputs in random order.
        quantity: which.
        allowed: shape (G,), whether each bin may be the best time; None for all.

    Returns:
        ``inputs`` is the number of blocks. None where there are too few, or no time that may be the best.
    """
    before = smoothed(course, quantity)
    may = np.ones(len(before), dtype=np.bool_) if allowed is None else allowed
    count = course.latest.shape[1]
    if count < LEAST or not may.any():
        return None
    now, differences = course.latest[quantity], np.empty(count)
    for chosen, judged in ((0, 1), (1, 0)):
        lowest = int(np.where(may, before[:, chosen::2].mean(1), np.inf).argmin())
        differences[judged::2] = (now - before[lowest])[judged::2]
    return contrast(differences)


def lowest_step(course: Course, quantity: int, allowed: Bools | None = None) -> int | None:
    """The step about which the mean over blocks was lowest; None where no bin may be it."""
    means = smoothed(course, quantity).mean(1)
    may = np.ones(len(means), dtype=np.bool_) if allowed is None else allowed
    return int(course.steps[np.where(may, means, np.inf).argmin()]) if may.any() else None


def smoothed(course: Course, quantity: int) -> Floats:
    """Shape (G, B), the mean of each bin and the two before it."""
    values = course.values[:, quantity]
    sums = np.concatenate([np.zeros((1, values.shape[1])), values.cumsum(0)])
    ends = np.arange(1, len(sums))
    begins = np.maximum(ends - SMOOTHED, 0)
    found: Floats = (sums[ends] - sums[begins]) / (ends - begins)[:, None]
    return found


def contrast(differences: Floats) -> Contrast:
    """The mean of paired differences, shape (B,), and how sure it is.

    One more as large as the largest is added to their squares: where nearly all are 0 the spread would be
    judged by one or two. Student's t becomes a normal deviate by Wallace's approximation (1959, "Bounds on
    normal approximations to Student's and the chi-square distributions").
    """
    count, mean = len(differences), float(differences.mean())
    squares = float((differences**2).sum() + (differences**2).max())
    freedom = count - 1
    variance = max(squares - count * mean**2, 0.0) / freedom / count
    t = mean / (math.sqrt(variance) + 1e-12)
    size = math.sqrt(freedom * math.log1p(t * t / freedom)) * (8 * freedom + 1) / (8 * freedom + 3)
    return Contrast(mean, math.copysign(size, t), count)
