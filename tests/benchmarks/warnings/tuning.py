"""Choosing signals, weights and thresholds on the development part alone.

Signals are chosen one by one for what they add to the ranking of runs by their highest score, where each
data set is scored by weights fitted on the others. Weights are those of a logistic regression over probes:
1 from shortly before the onset of a clear degradation, 0 in healthy runs.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from foldmon.warning.detector import WARM_UP
from foldmon.warning.rule import Rule, Term
from tests.benchmarks.warnings.features import Key, Run, held

FALSE_ALARMS = 0.05
_AHEAD, _STRIDE = 6, 2
_MOST, _LEAST_GAIN = 10, 0.005


class Tuner:
    """Tunes rules on runs of the development part."""

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

    def rule(self, candidates: Sequence[Key]) -> Rule:
        """The rule tuned over the candidates."""
        keys = self._chosen(candidates)
        model = self._fit(keys, np.ones(len(self.runs), dtype=bool))
        mark = self.mark(self._cross_scores(keys))
        terms = tuple(
            Term(*key, *(round(value, 6) for value in (*self.ranges[key], float(weight))))
            for key, weight in zip(keys, model.coef_[0], strict=True)
        )
        highest = max(
            run.max() for run, bad in zip(self._cross_scores(keys), self.degraded, strict=True) if not bad
        )
        return Rule(
            terms, round(float(model.intercept_[0]), 6), mark, max(mark + 0.5, float(highest)), mark - 1.0
        )

    def mark(self, scores: Sequence[np.ndarray]) -> float:
        """The lowest mark that no more than 5% of the healthy development runs pass."""
        healthy = [score.max() for score, bad in zip(scores, self.degraded, strict=True) if not bad]
        return float(np.quantile(healthy, 1 - FALSE_ALARMS, method="higher"))

    def quality(self, scores: Sequence[np.ndarray]) -> float:
        """How well the runs' highest scores part clear degradation from health: area under the curve,
        over all and within each data set, and recall at 5, 10 and 20% false alarms."""
        highest = np.array([score.max() for score in scores])
        used = self.clear | ~self.degraded
        within = [
            roc_auc_score(self.clear[rows], highest[rows])
            for rows in (used & (self.sets == name) for name in np.unique(self.sets))
            if len(np.unique(self.clear[rows])) == 2
        ]
        marks = [np.quantile(highest[~self.degraded], 1 - share) for share in (0.05, 0.1, 0.2)]
        recall = np.mean([(highest[self.clear] > mark).mean() for mark in marks])
        whole = roc_auc_score(self.clear[used], highest[used])
        return float(0.4 * whole + 0.2 * np.mean(within) + 0.4 * recall)

    def _chosen(self, candidates: Sequence[Key]) -> list[Key]:
        keys: list[Key] = []
        best = 0.0
        while len(keys) < _MOST:
            gains = {
                key: self.quality(self._cross_scores([*keys, key])) for key in candidates if key not in keys
            }
            key = max(gains, key=gains.__getitem__)
            if gains[key] < best + _LEAST_GAIN:
                break
            best = gains[key]
            keys.append(key)
        return keys

    def _cross_scores(self, keys: Sequence[Key]) -> list[np.ndarray]:
        """Scores of every run under weights fitted on the other data sets."""
        scores: list[np.ndarray] = [np.empty(0)] * len(self.runs)
        for name in np.unique(self.sets):
            model = self._fit(keys, self.sets != name)
            for place in np.flatnonzero(self.sets == name):
                scores[place] = held(self._inputs(keys, place) @ model.coef_[0] + model.intercept_[0])
        return scores

    def _inputs(self, keys: Sequence[Key], place: int) -> np.ndarray:
        return np.stack([self.scaled[key][place] for key in keys], axis=1)

    def _fit(self, keys: Sequence[Key], among: np.ndarray) -> LogisticRegression:
        inputs, targets, weights = [], [], []
        for place in np.flatnonzero(among & (self.clear | ~self.degraded)):
            onset = self.runs[place].outcome.onset
            first = WARM_UP if onset is None else max(WARM_UP, onset - _AHEAD)
            rows = np.arange(first, self.runs[place].probes, _STRIDE)
            if len(rows):
                inputs.append(self._inputs(keys, place)[rows])
                targets += [int(onset is not None)] * len(rows)
                weights += [1 / len(rows)] * len(rows)
        return LogisticRegression(C=1.0, max_iter=300).fit(
            np.concatenate(inputs), targets, sample_weight=weights
        )
