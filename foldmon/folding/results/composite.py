"""Estimating the mean over all pairs when only a share of them was measured now.

Every quantity of pair p at time t is level(t) + effect(p, t) + own(p, t): a level that wanders, an effect of
the pair that fades slowly, and what is new in every measurement. A Kalman filter (Kalman 1960) holds level
and effects. How fast the level wanders changes within a run (it falls when learning starts, then creeps), so
a filter runs for each of three rates, and each quantity weighs them by how well they foretold it; a small
share of every weight goes round, so that no rate is forgotten (Herbster and Warmuth 1998, "Tracking the best
expert"). Values stay on their own scale, since only there the mean over pairs is linear.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from foldmon.folding.results.statistics import Floats, Ints

Bools = npt.NDArray[np.bool_]

EFFECT = 0.7
"""Share of a pair's variance about the level that its effect makes up; the rest is new each time."""
FADING = 0.98
"""What is left of an effect after one unit of time."""
RATES = (1e-3, 1e-2, 1e-1)
"""Variance of the level's innovation in one unit of time, each in units of the variance between pairs."""
UNIT = 0.02
"""A unit of time, in logarithms of the step: from probe to probe where these follow each fiftieth of it."""
EARLY = 10
"""Steps added before the logarithm is taken, so that the first steps are longer units but not endless."""
MEMORY = 0.97
"""What is left of the past in a variance after one more measurement."""
SWITCHING = 0.02
"""Chance that from one probe to the next another rate holds."""
TOLD = 30.0
"""Degrees of freedom of a variance that is told."""
_DIFFUSE = 1e4
_GUESSED = 0.25  # degrees of freedom of a variance of which only the size of the first values tells


class Composite:
    """A composite estimator of K quantities over a panel of P pairs.

    Args:
        pairs: P.
        quantities: K.
        rates: of the level, see ``RATES``; G of them.

    Attributes:
        state: shape (G, 1 + P, K), expected level and effects.
        covariance: shape (G, 1 + P, 1 + P), their covariance in units of the variance between pairs; it
            depends on which pairs were measured, not on the values, so all quantities share it.
        weights: shape (G, K), of each rate; they sum to 1.
        squares: shape (G, K), freedom: shape (K,): sum of squared errors of prediction and their number,
            faded; their ratio is the variance between pairs.
        latest: shape (P, K), last value of every pair, NaN where there is none.
    """

    def __init__(self, pairs: int, quantities: int, rates: tuple[float, ...] = RATES) -> None:
        self.rates = np.array(rates)
        size = len(rates)
        self.state: Floats = np.zeros((size, 1 + pairs, quantities))
        diagonal = np.r_[_DIFFUSE, np.full(pairs, EFFECT)]
        self.covariance: Floats = np.tile(np.diag(diagonal), (size, 1, 1))
        self.weights: Floats = np.full((size, quantities), 1.0 / size)
        self.squares: Floats = np.zeros((size, quantities))
        self.freedom: Floats = np.zeros(quantities)
        self.latest: Floats = np.full((pairs, quantities), np.nan)

    def advance(self, before: int, now: int) -> None:
        """Let time pass from one step to another: the level wanders, effects fade."""
        units = max(0.0, float(np.log((now + EARLY) / (before + EARLY)))) / UNIT
        kept = FADING**units
        self.state[:, 1:] *= kept
        self.covariance[:, 1:] *= kept
        self.covariance[:, :, 1:] *= kept
        effects = np.arange(1, self.state.shape[1])
        self.covariance[:, effects, effects] += (1.0 - kept**2) * EFFECT
        self.covariance[:, 0, 0] += self.rates * units

    def correct(self, measured: Ints, values: Floats, variance: Floats | None = None) -> None:
        """Take in the values, shape (m, K), of the measured pairs, shape (m,). NaN says nothing.

        The variance between pairs, shape (K,), is judged by the errors of prediction where it is not told.
        """
        known = np.isfinite(values)
        fresh: Bools = known.any(0) & (self.freedom == 0)
        if fresh.any():
            self._begin(fresh, values)
        self._believe(variance)
        rows = measured + 1
        towards = self.covariance[:, :, rows] + self.covariance[:, :, :1]
        spread = towards[:, rows] + towards[:, :1] + (1.0 - EFFECT) * np.eye(len(rows))
        errors = np.where(known, values - self.state[:, :1] - self.state[:, rows], 0.0)
        inverse = np.linalg.inv(spread)
        solved = inverse @ errors
        self._weigh(np.asarray(known.all(0)), fresh, spread, (errors * solved).sum(1))
        self.state += towards @ solved
        self.covariance -= towards @ (inverse @ towards.transpose(0, 2, 1))
        # Rounding makes it a little asymmetric, and what is asymmetric grows with every later subtraction.
        self.covariance = (self.covariance + self.covariance.transpose(0, 2, 1)) / 2.0
        self.latest[measured] = np.where(known, values, self.latest[measured])
        self._believe(variance)

    def _believe(self, variance: Floats | None) -> None:
        """Take the variance between pairs as it is told, where it is a number."""
        if variance is not None:
            told = np.isfinite(variance) & (self.freedom > 0)
            self.freedom[told] = TOLD
            self.squares[:, told] = TOLD * variance[told]

    def _begin(self, fresh: Bools, values: Floats) -> None:
        """The first values of a quantity: their mean is its level, and their size tells the variance's."""
        first = np.nanmean(values[:, fresh], axis=0)
        self.state[:, 0, fresh] = first
        self.squares[:, fresh] = _GUESSED * 0.3 * first**2
        self.freedom[fresh] = _GUESSED

    def _weigh(self, whole: Bools, fresh: Bools, spread: Floats, misfit: Floats) -> None:
        """Student's predictive density of the errors, then the variance: only where no value was NaN."""
        count = spread.shape[-1]
        squares = np.maximum(self.squares, 1e-100)  # what is always 0 has none
        density = 0.5 * (
            self.freedom * np.log(squares)
            - (self.freedom + count) * np.log(squares + misfit)
            - np.linalg.slogdet(spread)[1][:, None]
        )
        mixed = (1.0 - SWITCHING) * self.weights + SWITCHING / len(self.rates)
        weights = mixed * np.exp(density - density.max(0))
        self.weights = np.where(whole & ~fresh, weights / weights.sum(0), self.weights)
        kept = np.where(whole, MEMORY**count, 1.0)
        self.squares = kept * self.squares + np.where(whole, misfit, 0.0)
        # The mean of a quantity's first values is its level: one of them is used up.
        self.freedom = kept * self.freedom + np.where(whole, count - fresh, 0)

    def estimate(self, measured: Ints, variance: Floats | None = None) -> tuple[Floats, Floats]:
        """Mean over the panel now, and its variance about the mean over all pairs that might have been drawn.

        Args:
            measured: shape (m,), the pairs that were last taken in.
            variance: shape (K,), between pairs, as :meth:`correct` was told it.

        Returns:
            Both of shape (K,). The variance is at least that of a mean of P pairs, judged by the spread of
            the latest values: pairs whose values hardly move are foretold well, and still are only P.
        """
        pairs, count = len(self.latest), len(measured)
        values = self.latest[measured]
        pieces = self.state[:, 1:].sum(1) + (pairs - count) * self.state[:, 0]
        means = (pieces + (values - self.state[:, measured + 1]).sum(1)) / pairs
        mean = (self.weights * means).sum(0)
        variances = self.variance(measured)[:, None] * self.squares / np.maximum(self.freedom, 1e-9)
        found = (self.weights * (variances + (means - mean) ** 2)).sum(0)
        told = np.nan if variance is None else variance / pairs
        return mean, np.maximum(found, np.fmax(self._sampling(), told))

    def variance(self, measured: Ints) -> Floats:
        """Shape (G,), variance of the panel's estimated mean about the level, in units of that between pairs.

        The estimate is the expected level plus an expected deviation of the panel. The level's error is
        uncorrelated with the data and so with the second; its variance is what the data tell of the panel's
        deviation: its variance beforehand less that afterwards.
        """
        pairs, count = len(self.latest), len(measured)
        before = EFFECT / pairs + count * (1.0 - EFFECT) / pairs**2
        weights = np.full(1 + pairs, 1.0 / pairs)
        weights[0] = -count / pairs
        weights[measured + 1] = 0.0
        after = (self.covariance @ weights) @ weights
        found: Floats = self.covariance[:, 0, 0] + np.maximum(before - after, 0.0)
        return found

    def _sampling(self) -> Floats:
        """Shape (K,), variance of a mean of P pairs; NaN where fewer than two pairs have a value."""
        seen = np.isfinite(self.latest)
        count = seen.sum(0)
        values = np.where(seen, self.latest, 0.0)
        centred = np.where(seen, values - values.sum(0) / np.maximum(count, 1), 0.0)
        with np.errstate(invalid="ignore", divide="ignore"):
            spread: Floats = np.where(count > 1, (centred**2).sum(0) / (count - 1), np.nan)
        return spread / len(self.latest)
