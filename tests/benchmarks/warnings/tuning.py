"""Forests and marks, tuned on some of the runs alone.

The readings are a fixed list, and a forest sees every shape of each. It learns to part probes: 1 from shortly
before the onset of a clear degradation on, 0 in healthy runs. The mark is set on scores of runs whose family
of data the forest had not seen, so that no more than 5% of the healthy ones pass it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
from sklearn.ensemble import ExtraTreesClassifier

from foldmon.warning.detector import WARM_UP
from foldmon.warning.forest import Forest, Key, Tree
from foldmon.warning.signals import SHAPES
from tests.benchmarks.warnings.features import Run, held

FALSE_ALARMS = 0.05
_AHEAD, _STRIDE = 3, 2

Score = Callable[[Run], np.ndarray]
"""The score of a run at every probe."""
Fit = Callable[[Sequence[Run]], Score]
"""Learns a score from runs."""

FOLDING = ("phi", "crossings", "changes", "elsewhere")
"""Readings of folding."""
ALL_FOLDING = (
    *FOLDING,
    "tail",
    "reach",
    "profile",
    "order",
    "last_layer",
    "within_between",
    "dead",
    "saturated",
)
OUTPUTS = (
    "classes", "unsure", "entropy", "doubt", "margin", "low_margins", "margin_5", "margin_10", "margin_25",
    "churn", "churn_cost", "turned", "turned_margin", "split", "consensus_doubt", "consensus_gap",
    "surprise", "surprise_soft", "divergence",
)  # fmt: skip
"""Readings of the predictions of held-out inputs."""
LOSS = ("loss", "loss_itself", "doubt_over_loss", "doubt_less_loss")
"""Readings that need the training loss."""


def trees(readings: Sequence[str]) -> Fit:
    """A forest over every shape of these readings."""

    def fit(runs: Sequence[Run]) -> Score:
        grown = grow(readings, runs)
        return lambda run: np.asarray(grown.predict_proba(inputs(readings, run))[:, 1])

    return fit


def inputs(readings: Sequence[str], run: Run) -> np.ndarray:
    """Shape (probes, signals)."""
    return np.stack([run.signals[name, shape] for name in readings for shape in SHAPES], axis=1)


def grow(readings: Sequence[str], runs: Sequence[Run]) -> ExtraTreesClassifier:
    """Trees fitted on the runs, each run counting the same."""
    rows, targets, weights = [], [], []
    for run in runs:
        if run.outcome.kind == "slight":
            continue
        onset = run.outcome.onset
        chosen = np.arange(WARM_UP if onset is None else max(WARM_UP, onset - _AHEAD), run.probes, _STRIDE)
        rows.append(inputs(readings, run)[chosen])
        targets += [onset is not None] * len(chosen)
        weights += [1 / max(len(chosen), 1)] * len(chosen)
    grown = ExtraTreesClassifier(60, max_depth=7, min_samples_leaf=20, max_features=0.25, random_state=0)
    return grown.fit(np.concatenate(rows), targets, sample_weight=np.array(weights))


def forest(readings: Sequence[str], runs: Sequence[Run]) -> Forest:
    """The forest that foldmon ships, with its marks."""
    scores = cross_scores(trees(readings), runs)
    warn = mark(scores, runs)
    highest = max(
        score.max() for score, run in zip(scores, runs, strict=True) if run.outcome.kind == "healthy"
    )
    grown = tuple(as_tree(member.tree_) for member in grow(readings, runs).estimators_)
    severe = max(warn, float(highest))
    return Forest(tuple(readings), grown, round(warn, 4), round(severe + 0.01, 4), round(0.8 * warn, 4))


def as_tree(grown: Any) -> Tree:
    """One of the library's trees as foldmon keeps it."""
    shares = grown.value[:, 0]
    leaf = grown.children_left < 0
    return Tree(
        np.where(leaf, -1, grown.feature).tolist(),
        [float(f"{cut:.5g}") for cut in np.where(leaf, 0.0, grown.threshold)],
        np.where(leaf, 0, grown.children_left).tolist(),
        np.where(leaf, 0, grown.children_right).tolist(),
        (shares[:, 1] / shares.sum(1)).round(4).tolist(),
    )


def cross_scores(fit: Fit, runs: Sequence[Run]) -> list[np.ndarray]:
    """Scores of every run, held for three probes, as learned from the other families of data."""
    scores: list[np.ndarray] = [np.empty(0)] * len(runs)
    for family in sorted({run.family for run in runs}):
        score = fit([run for run in runs if run.family != family])
        for place, run in enumerate(runs):
            if run.family == family:
                scores[place] = held(score(run))
    return scores


def mark(scores: Sequence[np.ndarray], runs: Sequence[Run]) -> float:
    """The lowest mark that no more than 5% of the healthy runs pass."""
    healthy = [s.max() for s, run in zip(scores, runs, strict=True) if run.outcome.kind == "healthy"]
    return float(np.quantile(healthy, 1 - FALSE_ALARMS, method="higher"))


def single(key: Key, sign: int = 1) -> Fit:
    """One signal as it is."""
    return lambda _: lambda run: sign * run.signals[key]


def best_single(readings: Sequence[str]) -> Fit:
    """The one signal that parts clearly degraded runs best from healthy ones."""

    def fit(runs: Sequence[Run]) -> Score:
        choices = [((name, shape), sign) for name in readings for shape in SHAPES for sign in (1, -1)]
        return single(*max(choices, key=lambda choice: _quality(*choice, runs)))(runs)

    return fit


def _quality(key: Key, sign: int, runs: Sequence[Run]) -> float:
    """Recall at 5, 10 and 20% false alarms, on average."""
    highest = np.array([_highest(run, key, sign) for run in runs])
    kinds = np.array([run.outcome.kind for run in runs])
    marks = [np.quantile(highest[kinds == "healthy"], 1 - share) for share in (0.05, 0.1, 0.2)]
    return float(np.mean([(highest[kinds == "clear"] > at).mean() for at in marks]))


@cache
def _highest(run: Run, key: Key, sign: int) -> float:
    return float(held(sign * run.signals[key]).max())
