"""Folding from distances, and its statistics over paths."""

from __future__ import annotations

from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

NORMAL = NormalDist().inv_cdf(0.975)
"""Of a normal distribution's 95% interval, in standard deviations."""

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
UnitNumbers = Ints | Floats
"""Numbers of units: counted, or estimated."""


def folding(r1: UnitNumbers, r2: UnitNumbers) -> Floats:
    """chi = 1 - r1 / r2, and 0 where r2 = 0 (arXiv 2502.09954, section 3).

    Args:
        r1: largest distance from the start, in units.
        r2: distance walked, in units, of the same shape.

    Example:
        >>> import numpy as np
        >>> from foldmon.folding.results.statistics import folding
        >>> folding(np.array([3, 5, 0]), np.array([6, 5, 0])).tolist()
        [0.5, 0.0, 0.0]
    """
    return 1.0 - np.divide(r1, r2, out=np.ones(np.shape(r2)), where=np.asarray(r2) > 0)


def bootstrap_interval(
    values: Floats, *, level: float = 0.95, resamples: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """Studentized bootstrap interval of the mean over paths.

    The folding of paths is skewed and often 0; a percentile interval then covers too seldom, because the
    mean and its error move together. Resampling their ratio allows for that. A resample of (nearly) equal
    values tells nothing of the error: it is taken for at least a fifth of the sample's. Neither side is
    shorter than a normal distribution's: where sampling stops at a width of the interval, the error is no
    longer free to move with the mean, and the side that skewness shortens would cover too seldom.

    Args:
        values: shape (P,), one value a path, in [0, 1].
        level: nominal coverage.
        resamples: number of resampled means.
        seed: of the resampling.

    Returns:
        Lower and upper end, within [0, 1]; (nan, nan) where a single path leaves nothing to resample.

    Source: Efron and Tibshirani, "An Introduction to the Bootstrap" (1993), section 12.5.
    """
    count = len(values)
    if count < 2:
        return float("nan"), float("nan")
    mean, error = float(values.mean()), float(values.std(ddof=1)) / count**0.5
    if error == 0.0 or not np.isfinite(error):
        return mean, mean
    generator = np.random.default_rng(seed)
    drawn = values[generator.integers(count, size=(resamples, count))]
    errors = np.maximum(drawn.std(axis=1, ddof=1) / count**0.5, error / 5)
    tail = (1.0 - level) / 2
    low, high = np.quantile((drawn.mean(1) - mean) / errors, (tail, 1.0 - tail))
    normal = NormalDist().inv_cdf(1.0 - tail)
    below, above = max(float(high), normal) * error, max(-float(low), normal) * error
    return max(0.0, mean - below), min(1.0, mean + above)


def wilson_interval(share: float | Floats, count: int) -> tuple[Any, Any]:
    """95% interval of a share of ``count`` independent cases, of one number or of each of an array.

    Source: Wilson, "Probable inference, the law of succession, and statistical inference" (1927).

    Example:
        >>> from foldmon.folding.results.statistics import wilson_interval
        >>> tuple(round(float(end), 4) for end in wilson_interval(0.0, 512))
        (0.0, 0.0074)
    """
    ratio = NORMAL**2 / count
    middle = (share + ratio / 2) / (1.0 + ratio)
    half = np.sqrt(ratio * share * (1.0 - share) + ratio**2 / 4) / (1.0 + ratio)
    return np.maximum(middle - half, 0.0), np.minimum(middle + half, 1.0)


def class_pair_means(values: Floats, classes: Ints, count: int) -> Floats:
    """Mean over the paths that join each two classes, in either direction.

    Args:
        values: shape (P,), one value a path.
        classes: shape (P, 2), class index of each end.
        count: number of classes C.

    Returns:
        Symmetric matrix of shape (C, C), NaN where no path joins the classes.
    """
    sums, numbers = np.zeros((count, count)), np.zeros((count, count))
    low, high = classes.min(1), classes.max(1)
    np.add.at(sums, (low, high), values)
    np.add.at(numbers, (low, high), 1)
    means = np.divide(sums, numbers, out=np.full_like(sums, np.nan), where=numbers > 0)
    upper = np.triu(means)
    mirrored: Floats = np.where(np.tri(count, k=-1, dtype=bool), upper.T, upper)
    return mirrored
