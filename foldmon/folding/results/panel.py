"""A panel of pairs of which each probe measures a share in turn, and the curve of the whole that follows.

Rotation sampling: Patterson 1950 ("Sampling on successive occasions with partial replacement of units"),
Eckler 1955 ("Rotation sampling"); composite estimators as in the US Current Population Survey.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from foldmon.folding.results.composite import RATES, Composite
from foldmon.folding.results.statistics import Floats, Ints

_NORMAL = NormalDist().inv_cdf(0.975)
_ARRAYS = ("state", "covariance", "weights", "squares", "freedom", "latest")


@dataclass(frozen=True)
class Estimate:
    """Means over the whole panel now, with 95% intervals for the pairs that might have been drawn.

    Attributes:
        mean: shape (K,), NaN for a quantity that held a NaN now.
        lower, upper: shape (K,), NaN likewise, and as long as fewer than two pairs were ever measured.
    """

    mean: Floats
    lower: Floats
    upper: Floats


class Panel:
    """Pairs that take turns, and the estimate for all of them from those measured so far.

    Args:
        pairs: number of pairs P.
        classes: shape (P, 2), class index of each end, or None. Shares are balanced over pairs of classes.
        seed: of the order of the turns.
        rates: of the level, see ``composite.RATES``.

    Raises:
        ValueError: no pairs, or classes of another shape.

    Example:
        >>> import numpy as np
        >>> from foldmon.folding.results.panel import Panel
        >>> panel, effects = Panel(8), np.linspace(0.0, 0.2, 8)
        >>> for step in range(40):
        ...     measured = panel.next(2)
        ...     estimate = panel.update(step, measured, effects[measured, None] + 0.01 * step)
        >>> truth = effects.mean() + 0.01 * step
        >>> bool(abs(estimate.mean[0] - truth) < 0.02), bool(estimate.lower[0] < truth < estimate.upper[0])
        (True, True)
    """

    def __init__(
        self, pairs: int, classes: Ints | None = None, seed: int = 0, rates: tuple[float, ...] = RATES
    ) -> None:
        if pairs < 1:
            raise ValueError(f"a panel needs at least one pair, got {pairs}")
        if classes is not None and np.shape(classes) != (pairs, 2):
            raise ValueError(f"classes must have shape ({pairs}, 2), got {np.shape(classes)}")
        self.pairs, self._rates = pairs, rates
        self._order = turns(pairs, classes, seed)
        self._place = 0
        self._step = 0
        self._composite: Composite | None = None

    def next(self, count: int) -> Ints:
        """The pairs to measure now: the ``count`` whose turn it is, shape (count,).

        Raises:
            ValueError: fewer than one pair, or more than the panel has.
        """
        if not 1 <= count <= self.pairs:
            raise ValueError(f"a share has 1 to {self.pairs} pairs, got {count}")
        places = (self._place + np.arange(count)) % self.pairs
        self._place = int(self._place + count) % self.pairs
        chosen: Ints = self._order[places]
        return chosen

    def update(
        self,
        step: int,
        measured: Ints,
        values: Floats,
        largest: float | Floats = np.inf,
        variance: Floats | None = None,
        least: float | Floats = 0.0,
    ) -> Estimate:
        """Take in what was measured at a step, and estimate the means over the panel.

        Only what is known by now is used. Where every pair was measured, the estimate is the plain mean, and
        the interval the studentized bootstrap's, as of ``statistics.bootstrap_interval``.

        Args:
            step: training step; time is counted in its logarithm.
            measured: shape (m,), different pairs, usually those of :meth:`next`.
            values: shape (m, K), K quantities of each. NaN in a quantity leaves the others be. Where K is not
                what it was, the history is dropped.
            largest: the largest value that a quantity can take, one for all or shape (K,).
            variance: shape (K,), between pairs, where more is known of it than the pairs' values tell.
            least: the least value, likewise: 0, or minus infinity.

        Raises:
            ValueError: ``values`` of another shape, or a pair that is unknown or comes twice.
        """
        measured, values = np.asarray(measured, dtype=np.int64), np.asarray(values, dtype=np.float64)
        self._check(measured, values)
        composite = self._composite
        if composite is None or composite.latest.shape[1] != values.shape[1]:
            composite = self._composite = Composite(self.pairs, values.shape[1], self._rates)
        else:
            composite.advance(self._step, step)
        self._step = step
        composite.correct(measured, values, variance)
        if len(measured) == self.pairs:
            mean, (lower, upper) = values.mean(0), bootstrap_intervals(values)
        else:
            mean, variance = composite.estimate(measured, variance)
            mean = np.clip(mean, least, largest)
            lower, upper = _interval(mean, variance, composite.freedom, np.isfinite(least))
        said = np.where(np.isfinite(values).all(0), 0.0, np.nan)
        return Estimate(mean + said, np.maximum(lower, least) + said, np.minimum(upper, largest) + said)

    def _check(self, measured: Ints, values: Floats) -> None:
        if measured.ndim != 1 or values.ndim != 2 or len(measured) != len(values) or len(measured) == 0:
            raise ValueError(
                "measured and values must have shapes (m,) and (m, K), "
                f"got {measured.shape} and {values.shape}"
            )
        if len(set(measured.tolist())) < len(measured) or measured.min() < 0 or measured.max() >= self.pairs:
            raise ValueError(f"measured must be different numbers from 0 to {self.pairs - 1}, got {measured}")

    def state_dict(self) -> dict[str, Any]:
        """All that the next estimate depends on, as plain JSON values (None for NaN)."""
        kept = self._composite
        arrays = {} if kept is None else {name: plain(getattr(kept, name)) for name in _ARRAYS}
        return {"order": self._order.tolist(), "place": self._place, "step": self._step, "composite": arrays}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where :meth:`state_dict` was taken.

        Raises:
            ValueError: the state is that of a panel of another size.
        """
        if len(state["order"]) != self.pairs:
            raise ValueError(f"the state is of {len(state['order'])} pairs, the panel has {self.pairs}")
        self._order = np.array(state["order"], dtype=np.int64)
        self._place, self._step, self._composite = state["place"], state["step"], None
        if state["composite"]:
            arrays = {name: np.array(state["composite"][name], dtype=np.float64) for name in _ARRAYS}
            self._composite = Composite(self.pairs, arrays["latest"].shape[1], self._rates)
            for name, array in arrays.items():
                setattr(self._composite, name, array)


def turns(pairs: int, classes: Ints | None, seed: int) -> Ints:
    """The order of the turns, shape (P,): shares of it are balanced over pairs of classes, and over classes.

    Pairs that join the same classes, in either direction, are spread evenly over the round.
    """
    generator = np.random.default_rng(seed)
    shuffled = generator.permutation(pairs)
    if classes is None:
        return shuffled
    strata: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for pair in shuffled.tolist():
        strata[tuple(sorted(classes[pair].tolist()))].append(pair)
    times, load, of = np.empty(pairs), defaultdict[int, int](int), len(strata)
    for rank in range(of):
        ends = min(strata, key=lambda ends: sum(load[end] for end in ends))
        members = strata.pop(ends)
        times[members] = (np.arange(len(members)) + (rank + 0.5) / of) / len(members)
        for end in ends:
            load[end] += 1
    return np.argsort(times, kind="stable")


def _interval(
    mean: Floats, variance: Floats, freedom: Floats, bounded: npt.NDArray[np.bool_]
) -> tuple[Floats, Floats]:
    """Normal below, and above what allows for an error that grows with the mean, as of skewed values.

    Values that may be negative are not ``bounded``: their interval is normal above, too.

    Above, the variance is taken to be proportional to the true mean (score interval: Wilson 1927, "Probable
    inference"), but to the mean of at least one standard error. Few values tell little of the variance: the
    quantile is Student's, by the first term of its expansion.
    """
    quantile = _NORMAL + (_NORMAL**3 + _NORMAL) / (4 * np.maximum(freedom, 1.0))
    error = np.sqrt(variance)
    base = np.maximum(np.maximum(mean, error), np.finfo(float).tiny)
    growth = quantile**2 * variance / base
    above = growth / 2 + np.sqrt(np.maximum(growth * mean, 0.0) + growth**2 / 4)
    return mean - quantile * error, mean + np.where(bounded, above, quantile * error)


def bootstrap_intervals(values: Floats) -> tuple[Floats, Floats]:
    """``statistics.bootstrap_interval`` of every column of values, shape (P, K), not clipped; each (K,)."""
    count = len(values)
    if count < 2:
        return np.full(values.shape[1], np.nan), np.full(values.shape[1], np.nan)
    mean, error = values.mean(0), values.std(0, ddof=1) / count**0.5
    centred, drawn = values - mean, _resampled(count)
    shifts = drawn @ centred / count
    variances = np.maximum(drawn @ centred**2 / count - shifts**2, 0.0) / (count - 1)
    errors = np.maximum(np.sqrt(variances), np.maximum(error / 5, np.finfo(float).tiny))
    low, high = np.quantile(shifts / errors, (0.025, 0.975), axis=0)
    return mean - np.maximum(high, _NORMAL) * error, mean + np.maximum(-low, _NORMAL) * error


@lru_cache(maxsize=1)
def _resampled(count: int, resamples: int = 2000) -> Floats:
    """How often each pair is in each resample, shape (resamples, count)."""
    rows = np.random.default_rng(0).integers(count, size=(resamples, count))
    times = np.zeros((resamples, count))
    np.add.at(times, (np.arange(resamples)[:, None], rows), 1.0)
    return times


def plain(array: Floats) -> Any:
    """The array as plain JSON values, None for NaN."""
    plain = array.astype(object)
    plain[np.isnan(array)] = None
    return plain.tolist()
