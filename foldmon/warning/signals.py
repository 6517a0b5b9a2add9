"""Signals: pure functions of a run's history, each a number that rises when something goes wrong."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from foldmon.folding.results.statistics import Floats

CourseShape = Callable[[Floats], Floats]
"""From courses of shape (B,) or (B, R), blocks first, to one number each."""

_RECENT = 3
_SETTLED = 2
"""Blocks at the start that are no one's plateau: the values at initialisation."""


def recent(values: Floats) -> Floats:
    """The mean of the last three values."""
    return _mean(values[-_RECENT:])


def rise(values: Floats) -> Floats:
    """How far the recent mean has risen above its lowest value: growth past a plateau, an upturn.

    Example:
        >>> import numpy as np
        >>> from foldmon.warning.signals import rise
        >>> float(rise(np.array([9.0, 9, 9, 1, 1, 1, 2, 2, 2])))
        1.0
    """
    means = running_means(values)
    risen: Floats = means[-1] - means.min(0)
    return risen


def fall(values: Floats) -> Floats:
    """How far the recent mean has fallen below its highest value."""
    return rise(-values)


def since_lowest(values: Floats) -> Floats:
    """How long ago the running mean was last at its lowest, as a share of the run."""
    since: Floats = running_means(values)[::-1].argmin(0) / len(values)
    return since


def since_highest(values: Floats) -> Floats:
    """How long ago the running mean was last at its highest, as a share of the run."""
    return since_lowest(-values)


def trend(values: Floats) -> Floats:
    """The recent mean against the median of the run's second half."""
    return recent(values) - _median(values[(len(values) - 1) // 2 :])


def slope(values: Floats) -> Floats:
    """Least-squares slope over the run's second half, in units a run length.

    Example:
        >>> import numpy as np
        >>> from foldmon.warning.signals import slope
        >>> round(float(slope(np.arange(10.0))), 6)
        10.0
    """
    last = len(values) - 1
    late = values[last - last // 2 :]
    if len(late) < _RECENT:
        return np.zeros(values.shape[1:])
    time = np.arange(len(late)) - (len(late) - 1) / 2
    steepness: Floats = np.tensordot(time, late, 1) / (time @ time) * len(values)
    return steepness


def since_early(values: Floats) -> Floats:
    """The recent mean against the median of the run's first third."""
    last = len(values) - 1
    return recent(values) - _median(values[min(3, last) : max(4, last // 3) + 1])


def running_means(values: Floats) -> Floats:
    """Running means of three values from the time on that the first values are past."""
    padded = np.concatenate([np.zeros((_RECENT - 1, *values.shape[1:])), values])
    sums = np.sum([padded[shift : shift + len(values)] for shift in range(_RECENT)], axis=0)
    counts = np.minimum(np.arange(1, len(values) + 1), _RECENT)
    means: Floats = (sums.T / counts).T
    return means[min(_SETTLED, len(values) - 1) :]


def _mean(values: Floats) -> Floats:
    mean: Floats = values.mean(0)
    return mean


def _median(values: Floats) -> Floats:
    middle: Floats = np.median(values, axis=0)
    return middle


SHAPES: dict[str, CourseShape] = {
    "recent": recent,
    "rise": rise,
    "fall": fall,
    "trend": trend,
    "slope": slope,
    "since_early": since_early,
    "since_lowest": since_lowest,
    "since_highest": since_highest,
}


def signals(values: Floats) -> Floats:
    """Every shape of every course.

    Args:
        values: shape (B, R), R readings in B blocks.

    Returns:
        Shape (R, len(SHAPES)).

    Example:
        >>> import numpy as np
        >>> from foldmon.warning.signals import signals
        >>> signals(np.ones((5, 3))).shape
        (3, 8)
    """
    return np.stack([shape(values) for shape in SHAPES.values()], axis=1)
