"""Weights and thresholds of the rules, fitted on some of the runs alone.

The signals are a fixed list. Weights are those of a ridge logistic regression over probes: 1 from shortly
before the onset of a clear degradation, 0 in healthy runs. The mark is set on scores of runs whose data set
the weights had not seen, so that no more than 5% of the healthy ones pass it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from foldmon.warning.detector import WARM_UP
from foldmon.warning.rule import Rule, Term
from tests.benchmarks.warnings.features import Key, Run, held

FALSE_ALARMS = 0.05
_AHEAD, _STRIDE = 6, 2
_RIDGE = 5.0


def _keys(**shapes: str) -> tuple[Key, ...]:
    return tuple((reading, shape) for reading, names in shapes.items() for shape in names.split())


FOLDING = _keys(
    classes="trend slope",
    changes="slope rise since_early fall",
    elsewhere="since_early",
    phi="rise since_early slope",
    profile="slope",
    crossings="since_early slope",
    reach="trend since_early",
    within_between="rise trend",
    churn="recent trend fall",
    turned="trend recent",
    split="trend",
    dead="since_early",
)
"""Signals of folding and of the predicted classes."""
OUTPUTS = _keys(
    surprise="rise trend recent",
    turned_surely="recent",
    unsure="slope recent since_early fall",
    doubt="slope recent fall",
)
"""Signals of how certain the predictions are."""
LOSS = _keys(doubt_over_loss="recent since_early rise slope", loss="recent slope since_early fall")
"""Signals that need the training loss."""


class Tuner:
    """Tunes rules on the given runs."""

    def __init__(self, runs: Sequence[Run]) -> None:
        self.runs = list(runs)
        self.degraded = np.array([run.outcome.kind != "healthy" for run in runs])
        self.clear = np.array([run.outcome.kind == "clear" for run in runs])
        self.sets = np.array([run.spec["data"] for run in runs])
        self.ranges = {key: self._range(key) for key in runs[0].signals}
        self.scaled = {key: [self._squashed(run, key) for run in runs] for key in self.ranges}

    def _range(self, key: Key) -> tuple[float, float]:
        values = np.concatenate([run.signals[key][WARM_UP:] for run in self.runs])
        low, middle, high = np.quantile(values, (0.1, 0.5, 0.9))
        return float(middle), max(float(high - low), 1e-6)

    def _squashed(self, run: Run, key: Key) -> np.ndarray:
        centre, scale = self.ranges[key]
        return np.tanh((run.signals[key] - centre) / scale)

    def rule(self, keys: Sequence[Key]) -> Rule:
        """The rule over these signals."""
        bias, *weights = self._fit(keys, np.ones(len(self.runs), dtype=bool)).tolist()
        scores = self._cross_scores(keys)
        warn = self.mark(scores)
        highest = max(score.max() for score, bad in zip(scores, self.degraded, strict=True) if not bad)
        terms = tuple(
            Term(*key, *(round(value, 6) for value in (*self.ranges[key], weight)))
            for key, weight in zip(keys, weights, strict=True)
        )
        return Rule(terms, round(bias, 6), warn, max(warn, float(highest)) + 0.5, warn - 1.0)

    def mark(self, scores: Sequence[np.ndarray]) -> float:
        """The lowest mark that no more than 5% of the healthy runs pass."""
        healthy = [score.max() for score, bad in zip(scores, self.degraded, strict=True) if not bad]
        return float(np.quantile(healthy, 1 - FALSE_ALARMS, method="higher"))

    def quality(self, scores: Sequence[np.ndarray]) -> float:
        """How well the runs' highest scores part clear degradation from health: area under the curve,
        over all and within each data set, and recall at 5, 10 and 20% false alarms."""
        highest = np.array([score.max() for score in scores])
        used = self.clear | ~self.degraded
        within = [
            _area(highest[rows], self.clear[rows])
            for rows in (used & (self.sets == name) for name in np.unique(self.sets))
            if len(np.unique(self.clear[rows])) == 2
        ]
        marks = [np.quantile(highest[~self.degraded], 1 - share) for share in (0.05, 0.1, 0.2)]
        recall = np.mean([(highest[self.clear] > mark).mean() for mark in marks])
        whole = _area(highest[used], self.clear[used])
        return float(0.4 * whole + 0.2 * np.mean(within) + 0.4 * recall)

    def _cross_scores(self, keys: Sequence[Key]) -> list[np.ndarray]:
        """Scores of every run under weights fitted on the other data sets."""
        scores: list[np.ndarray] = [np.empty(0)] * len(self.runs)
        for name in np.unique(self.sets):
            found = self._fit(keys, self.sets != name)
            for place in np.flatnonzero(self.sets == name):
                scores[place] = held(self._inputs(keys, place) @ found[1:] + found[0])
        return scores

    def _inputs(self, keys: Sequence[Key], place: int) -> np.ndarray:
        return np.stack([self.scaled[key][place] for key in keys], axis=1)

    def _fit(self, keys: Sequence[Key], among: np.ndarray) -> np.ndarray:
        """Bias and weights fitted on some of the runs, each run counting the same."""
        inputs, targets, weights = [], [], []
        for place in np.flatnonzero(among & (self.clear | ~self.degraded)):
            onset = self.runs[place].outcome.onset
            first = WARM_UP if onset is None else max(WARM_UP, onset - _AHEAD)
            rows = np.arange(first, self.runs[place].probes, _STRIDE)
            inputs.append(self._inputs(keys, place)[rows])
            targets += [float(onset is not None)] * len(rows)
            weights += [1 / max(len(rows), 1)] * len(rows)
        return _logistic(np.concatenate(inputs), np.array(targets), np.array(weights))


def _logistic(inputs: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Bias and weights that maximize the likelihood less the ridge, by Newton's method."""
    columns = np.column_stack([np.ones(len(inputs)), inputs])
    penalty = np.diag([1e-6] + [_RIDGE] * inputs.shape[1])
    found = np.zeros(columns.shape[1])
    for _ in range(8):
        share = 1 / (1 + np.exp(-columns @ found))
        gradient = columns.T @ (weights * (targets - share)) - penalty @ found
        curvature = (columns * (weights * share * (1 - share))[:, None]).T @ columns + penalty
        found = found + np.linalg.solve(curvature, gradient)
    return found


def _area(scores: np.ndarray, positive: np.ndarray) -> float:
    """Area under the curve: how often a positive's score is above a negative's, ties for half."""
    highs, lows = scores[positive][:, None], scores[~positive][None, :]
    return float(((highs > lows) + 0.5 * (highs == lows)).mean())
