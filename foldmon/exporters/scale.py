"""How far a picture's scale reaches."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from numpy.typing import ArrayLike

_BEGINNING = 0.1
_FAR = 2.0


def settled(steps: Sequence[int]) -> int:
    """The first place after the first tenth of the steps.

    Example:
        >>> settled([0, 1, 2, 50, 1000]), settled([7])
        (4, 0)
    """
    begin, end = steps[0], steps[-1]
    return next(place for place, step in enumerate(steps) if step - begin >= _BEGINNING * (end - begin))


def reach(steps: Sequence[int], values: ArrayLike) -> float:
    """The largest value of a picture over the steps: what lies far above it at the beginning is cut off.

    An untrained network often folds many times as much as it does ever after, and of the first steps the
    interval is wide, so that all the rest would lie flat at the bottom. Where the largest value after the
    first tenth of the steps is not far below that of all, nothing is cut off.

    Args:
        steps: shape (P,), at least one, in order.
        values: shape (P,) or (P, L), not negative; NaN where one is missing.

    Returns:
        0 where no value is finite.

    Example:
        >>> reach([0, 10, 20, 30], [0.9, 0.1, 0.2, 0.1]), reach([0, 10, 20, 30], [0.2, 0.1, 0.2, 0.1])
        (0.2, 0.2)
    """
    matrix = np.asarray(values, dtype=float)
    whole, late = _largest(matrix), _largest(matrix[settled(steps) :])
    return late if 0 < late < whole / _FAR else whole


def _largest(values: npt.NDArray[np.float64]) -> float:
    return float(np.max(values, initial=0.0, where=np.isfinite(values)))
