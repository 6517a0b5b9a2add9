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
"""Bins that the best time is the mean of."""
WINDOWS = (1, 3, 5)
"""Bins that now is the mean of: one shows a sudden fall, more one that the model's own wandering hides."""
RECENT = 12
"""Bins before now by which this wandering is judged."""
LEAST = 8
"""Blocks that a test needs."""


@dataclass(frozen=True)
class Contrast:
    """How much higher a quantity is now than at its lowest, over the same inputs.

    Attributes:
        rise: mean of the paired differences between blocks of inputs.
        z: that in standard errors, of the inputs and of the model's wandering from probe to probe, as a
            normal deviate: few blocks tell less of their spread.
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
    Inputs drawn at random differ independently: the spread between blocks tells the error of the mean. What
    all of them share, since the model itself is now better and now worse, is in no spread between them, see
    :func:`wandering`: it is the least error however many inputs there are, less of means over more time, and
    both halves choose the same lucky moment by it, see :func:`_luck`.

    Args:
        course: of blocks of inputs in random order.
        quantity: which.
        allowed: shape (G,), whether each bin may be the best time; None for all.

    Returns:
        The surest of those of the last bin and of the last few; ``inputs`` is the number of blocks. None
        where there are too few, or no time that may be the best.
    """
    before = smoothed(course, quantity)
    may = np.ones(len(before), dtype=np.bool_) if allowed is None else allowed
    if course.latest.shape[1] < LEAST:
        return None
    values = course.values[:, quantity]
    wander = wandering(values.mean(1))
    found = []
    for window in WINDOWS:
        end = len(before) if window == 1 else len(before) - window
        if end < 1 or not may[:end].any():
            continue
        now: Floats = course.latest[quantity] if window == 1 else values[end:].mean(0)
        differences = _above_lowest(now, before[:end], may[:end])
        luck = _luck(before[:end][may[:end]].mean(1), wander / math.sqrt(SMOOTHED))
        found.append(contrast(differences, wander * math.sqrt(1 / window + 1 / SMOOTHED), luck))
    return max(found, key=lambda one: one.z, default=None)


def _above_lowest(now: Floats, before: Floats, may: Bools) -> Floats:
    """Cross-fitted paired differences, shape (B,)."""
    differences = np.empty_like(now)
    for chosen, judged in ((0, 1), (1, 0)):
        lowest = int(np.where(may, before[:, chosen::2].mean(1), np.inf).argmin())
        differences[judged::2] = (now - before[lowest])[judged::2]
    return differences


def _luck(means: Floats, error: float) -> float:
    """How far below the others the lowest of some means lies by chance: the expected least of as many draws.

    Only those count that may be as low as it, and of means that overlap one in three.
    """
    rivals = int((means <= means.min() + 4 * error).sum()) / SMOOTHED
    return error * math.sqrt(2 * math.log(max(rivals, 1.0)))


def wandering(means: Floats) -> float:
    """How far a course of means, shape (G,), goes up and down beside its trend: a standard deviation.

    From the differences to the mean of both neighbours, which no straight trend moves (after von Neumann et
    al. 1941, "The mean square successive difference"). The last bin is left out: a fall is judged by it.
    """
    apart = (means[1:-1] - (means[:-2] + means[2:]) / 2)[:-1][-RECENT:]
    return float(np.sqrt((apart**2).mean() / 1.5)) if len(apart) else 0.0


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


def contrast(differences: Floats, shared: float = 0.0, luck: float = 0.0) -> Contrast:
    """The mean of paired differences, shape (B,), and how sure it is.

    One more as large as the largest is added to their squares: where nearly all are 0 the spread would be
    judged by one or two. Student's t becomes a normal deviate by Wallace's approximation (1959, "Bounds on
    normal approximations to Student's and the chi-square distributions").

    Args:
        differences: one each block.
        shared: standard error of the mean beside what the spread between blocks tells.
        luck: what the mean would be by chance.
    """
    count, mean = len(differences), float(differences.mean())
    squares = float((differences**2).sum() + (differences**2).max())
    freedom = count - 1
    variance = max(squares - count * mean**2, 0.0) / freedom / count + shared**2
    t = (mean - luck) / (math.sqrt(variance) + 1e-12)
    size = math.sqrt(freedom * math.log1p(t * t / freedom)) * (8 * freedom + 1) / (8 * freedom + 3)
    return Contrast(mean, math.copysign(size, t), count)
