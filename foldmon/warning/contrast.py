"""The paired test: are the same held-out inputs worse off now than at the best time of the run?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from foldmon.folding.results.statistics import Floats
from foldmon.warning.course import Course

SMOOTHED = 0.1
"""Half width of what counts as one time before, in logarithms of the step."""
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


def contrasts(course: Course, window: float, depths: Floats) -> list[Contrast] | None:
    """Every quantity now against its lowest before, over the blocks of inputs looked at in both.

    The lowest time is chosen on one half of the blocks and judged on the other, both ways round, so that
    choosing it costs nothing (cross-fitting: Chernozhukov et al. 2018, "Double/debiased machine learning").
    Inputs drawn at random differ independently: the spread between blocks tells the error of the mean.

    Args:
        course: Q quantities of blocks of inputs in random order.
        window: length of what counts as now, in logarithms of the step.
        depths: shape (Q,), by how much a quantity must have fallen before a time counts as its lowest.

    Returns:
        Q of them, ``inputs`` being the number of blocks; None where too few can be compared. Where a quantity
        has not fallen so far there is no rise either.
    """
    start = min(int(np.searchsorted(course.times, course.times[-1] - window, side="right")), len(course) - 1)
    seen = course.counts[:start].sum(0) > 0
    compared = seen & (course.counts[start:].sum(0) > 0)
    odd = np.arange(len(seen)) % 2 == 1
    if compared.sum() < LEAST or not (seen & odd).any() or not (seen & ~odd).any():
        return None
    before, now = smoothed(course, start), course.means(start)
    quantities, parts = np.arange(len(now)), []
    for half in (odd, ~odd):
        means = before[:, :, seen & ~half].mean(2)
        fallen = np.maximum.accumulate(means, axis=1) - means >= depths[:, None]
        lowest = np.where(fallen, means, np.inf).argmin(1)
        judged = compared & half
        rises = now[:, judged] - before[quantities, lowest][:, judged]
        parts.append(np.where(fallen.any(1)[:, None], rises, 0.0))
    return [contrast(differences) for differences in np.concatenate(parts, axis=1)]


def lowest_step(course: Course, quantity: int, depth: float) -> int | None:
    """The step about which the mean over blocks was lowest, once it had fallen by ``depth``; else None."""
    means = smoothed(course, len(course))[quantity][:, course.counts.any(0)].mean(1)
    fallen = np.maximum.accumulate(means) - means >= depth
    return int(course.steps[np.where(fallen, means, np.inf).argmin()]) if fallen.any() else None


def smoothed(course: Course, end: int) -> Floats:
    """What each block's values were at every time before, though blocks take turns.

    Between the times at which a block was looked at its values are taken to move evenly, and to stand before
    the first and after the last of them. Neighbouring times are averaged: a best time that owes its place to
    one lucky probe is none.

    Args:
        course: of B blocks.
        end: number of bins that count, G.

    Returns:
        Shape (Q, G, B), NaN for blocks that were never looked at.
    """
    looked, times = course.counts[:end] > 0, course.times[:end]
    bins = np.arange(end)[:, None]
    last = np.maximum.accumulate(np.where(looked, bins, -1), axis=0)
    following = np.minimum.accumulate(np.where(looked, bins, end)[::-1], axis=0)[::-1]
    last = np.where(last < 0, np.minimum(following, end - 1), last)
    following = np.where(following == end, last, following)
    gap = times[following] - times[last]
    share = np.divide(times[bins] - times[last], gap, out=np.zeros_like(gap), where=gap > 0)
    values, columns = course.values(end), np.arange(looked.shape[1])
    early, late = values[:, last, columns], values[:, following, columns]
    near = np.abs(times[:, None] - times) <= SMOOTHED
    found: Floats = (near / near.sum(1, keepdims=True)) @ (early + share * (late - early))
    return found


def contrast(differences: Floats) -> Contrast:
    """The mean of paired differences, shape (B,), and how sure it is.

    One more as large as the largest is added to their squares: where nearly all are 0 the spread would be
    judged by one or two. Student's t becomes a normal deviate by Wallace's approximation (1959, "Bounds on
    normal approximations to Student's and the chi-square distributions").
    """
    count, rise = len(differences), float(differences.mean())
    squares = float((differences**2).sum() + (differences**2).max())
    freedom = count - 1
    variance = max(squares - count * rise**2, 0.0) / freedom / count
    t = rise / (math.sqrt(variance) + 1e-12)
    size = math.sqrt(freedom * math.log1p(t * t / freedom)) * (8 * freedom + 1) / (8 * freedom + 3)
    return Contrast(rise, math.copysign(size, t), count)
