"""What the whole validation set says of a run: whether it got worse, and what stopping would spare."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

LOST, LOST_LOSS = 0.03, math.log(1.1)
"""A run degrades that ends so far below its best: three points, or a loss a tenth above the lowest."""
FALLEN, FALLEN_LOSS = 0.02, math.log(1.07)
"""So far below the best until then the validation set confirms a warning."""
RISEN, RISEN_FLOOR = 0.10, 0.02
"""A loss so far above its lowest (a share, and nats) confirms a warning of the loss alone."""


@dataclass(frozen=True, eq=False)
class Truth:
    """The course of a run.

    Attributes:
        steps: shape (T,), where the validation set was evaluated.
        scores: shape (T,), what is to be high there: accuracy, or minus the log of the loss where a task
            has no accuracy; medians of three values, since the best of single noisy ones lies too high.
        losses: shape (T,), likewise.
        accuracy: whether scores are accuracies.
    """

    steps: np.ndarray
    scores: np.ndarray
    losses: np.ndarray
    accuracy: bool

    @property
    def best(self) -> float:
        return float(self.scores.max())

    @property
    def end(self) -> float:
        """The median of the last five, or the last one where the run is still getting better."""
        return max(float(np.median(self.scores[-5:])), float(self.scores[-1]))

    @property
    def degraded(self) -> bool:
        return self.best - self.end >= (LOST if self.accuracy else LOST_LOSS)

    def at(self, step: float) -> float:
        """The score at a step."""
        return float(np.interp(step, self.steps, self.scores))

    def spared(self, step: float | None) -> float:
        """Share of the loss from the best to the end that the weights of this step are free of, -1 at least.

        0 for no step: training goes on to the end.
        """
        if step is None:
            return 0.0
        return max(-1.0, (self.at(step) - self.end) / (self.best - self.end))

    def fallen(self, step: float) -> bool:
        """Whether the validation set confirms a warning at this step, whatever comes of the run."""
        until = self.scores[self.steps <= step]
        best = float(until.max()) if len(until) else -math.inf
        return best - self.at(step) >= (FALLEN if self.accuracy else FALLEN_LOSS)

    def risen(self, step: float) -> bool:
        """Whether the validation loss is above its lowest so far at this step."""
        until = self.losses[self.steps <= step]
        now = float(np.interp(step, self.steps, self.losses))
        return bool(len(until)) and now > until.min() * (1 + RISEN) + RISEN_FLOOR


def truth_of(run: dict[str, Any], loss_only: bool) -> Truth:
    """The course of a stored run.

    Args:
        run: of the store.
        loss_only: whether its loss is what counts, not an accuracy.
    """
    steps, losses, accuracies = np.array(run["truth"], dtype=np.float64).T
    losses = np.where(np.isfinite(losses), losses, 1e6)
    scores = -np.log(losses + 1e-12) if loss_only else accuracies
    return Truth(steps, _medians(scores), _medians(losses), not loss_only)


def _medians(values: np.ndarray) -> np.ndarray:
    padded = np.concatenate([values[:1], values, values[-1:]])
    medians: np.ndarray = np.median(np.lib.stride_tricks.sliding_window_view(padded, 3), axis=1)
    return medians
