"""What the model held of each held-out input for long."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from foldmon.folding.results.statistics import Floats, Ints

KEPT = 4
"""Classes that are remembered of an input."""
MEMORY = 3.0
"""Votes fade as this power of the steps: those of the last third of the run count most."""
_NONE = -1


class Votes:
    """For how long each input was given each of its classes, the last part of the run counting most.

    The leading class is the temporal ensemble's (Laine and Aila, "Temporal Ensembling for Semi-Supervised
    Learning", arXiv 1610.02242). A network that memorises wrong labels turns against it (Liu et al.,
    "Early-Learning Regularization Prevents Memorization of Noisy Labels", arXiv 2007.00151). An input that
    is not looked at votes as it last did. Of each input the four classes with most votes are remembered
    (Metwally, Agrawal and El Abbadi 2005, "Efficient computation of frequent and top-k elements").

    Args:
        inputs: N.

    Attributes:
        entropy: of the predicted classes at the latest look, over the highest that it could be.

    Example:
        >>> import numpy as np
        >>> from foldmon.warning.votes import Votes
        >>> votes, rows = Votes(2), np.arange(2)
        >>> votes.turned(10, rows, np.array([3, 5]), classes=10).tolist()
        [0.0, 0.0]
        >>> votes.turned(12, rows, np.array([3, 6]), classes=10).tolist()
        [0.0, 1.0]
    """

    def __init__(self, inputs: int) -> None:
        self.entropy = 0.0
        self._latest: Ints = np.full(inputs, _NONE)
        self._classes: Ints = np.full((inputs, KEPT), _NONE)
        self._votes: Floats = np.zeros((inputs, KEPT))
        self._step = 0

    def turned(self, step: int, rows: Ints, predicted: Ints, classes: int) -> Floats:
        """Which inputs are predicted otherwise than was held for long; then all vote.

        Args:
            step: training step.
            rows: shape (R,), the inputs that are looked at.
            predicted: shape (R,), their predicted classes.
            classes: number of classes that the model tells apart.

        Returns:
            Shape (N,), 1 or 0; NaN for inputs that were never looked at.
        """
        self._latest[rows] = predicted
        shares = np.unique(predicted, return_counts=True)[1] / len(predicted)
        self.entropy = float(-(shares * np.log(shares)).sum()) / math.log(
            max(2, min(classes, len(predicted)))
        )
        every = np.arange(len(self._latest))
        leader = self._classes[every, self._votes.argmax(1)]
        turned = np.where(leader == _NONE, 0.0, leader != self._latest)
        self._vote(step, every)
        found: Floats = np.where(self._latest == _NONE, np.nan, turned)
        return found

    def _vote(self, step: int, every: Ints) -> None:
        kept = math.exp(-MEMORY * max(0, step - self._step) / max(step, 1))
        self._step = step
        same = self._classes == self._latest[:, None]
        known = same.any(1)
        cast = every, np.where(known, same.argmax(1), self._votes.argmin(1))
        self._votes *= kept
        # A first vote has nothing that it could be weighed against.
        first = self._votes.max(1) == 0.0
        self._votes[cast] = np.where(known, self._votes[cast], 0.0) + np.where(first, 1.0, 1.0 - kept)
        self._votes[self._latest == _NONE] = 0.0
        self._classes[cast] = self._latest

    def state_dict(self) -> dict[str, Any]:
        """The whole state, as plain JSON values."""
        return {
            "entropy": self.entropy,
            "latest": self._latest.tolist(),
            "classes": self._classes.tolist(),
            "votes": self._votes.tolist(),
            "step": self._step,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Votes:
        """The votes whose :meth:`state_dict` this is."""
        votes = cls(len(state["latest"]))
        votes.entropy, votes._step = float(state["entropy"]), int(state["step"])
        votes._latest = np.array(state["latest"], dtype=np.int64)
        votes._classes = np.array(state["classes"], dtype=np.int64).reshape(-1, KEPT)
        votes._votes = np.array(state["votes"], dtype=np.float64).reshape(-1, KEPT)
        return votes
