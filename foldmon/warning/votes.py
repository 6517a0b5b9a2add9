"""What the model held of each held-out input for longest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from foldmon.folding.results.statistics import Floats, Ints
from foldmon.warning.course import EARLY

KEPT = 4
"""Classes that are remembered of an input."""
POWER = 1.0
"""How much late steps count: at 1 all alike, at 2 in proportion to their number."""
_NONE = -1


class Votes:
    """For how many steps each input was given each of its classes, those of late counting more.

    The leading class is the temporal ensemble's (Laine and Aila, "Temporal Ensembling for Semi-Supervised
    Learning", arXiv 1610.02242). A network that memorises wrong labels turns against it (Liu et al.,
    "Early-Learning Regularization Prevents Memorization of Noisy Labels", arXiv 2007.00151). Of each input
    the four classes with most votes are remembered (Metwally, Agrawal and El Abbadi 2005, "Efficient
    computation of frequent and top-k elements").

    Args:
        inputs: N.

    Example:
        >>> import numpy as np
        >>> from foldmon.warning.votes import Votes
        >>> votes, rows = Votes(2), np.arange(2)
        >>> votes.turned(10, rows, np.array([3, 5])).tolist()
        [0.0, 0.0]
        >>> votes.turned(20, rows, np.array([3, 6])).tolist()
        [0.0, 1.0]
    """

    def __init__(self, inputs: int) -> None:
        self._classes: Ints = np.full((inputs, KEPT), _NONE)
        self._votes: Floats = np.zeros((inputs, KEPT))
        self._steps: npt.NDArray[np.float64] = np.zeros(inputs)

    def turned(self, step: int, rows: Ints, predicted: Ints) -> Floats:
        """Which of some inputs are predicted otherwise than the model held for longest, and vote.

        Args:
            step: training step.
            rows: shape (R,), the inputs.
            predicted: shape (R,), their predicted classes.

        Returns:
            Shape (R,), 1 or 0; 0 at the first look at an input.
        """
        classes, votes = self._classes[rows], self._votes[rows]
        leader = classes[np.arange(len(rows)), votes.argmax(1)]
        kept = (self._steps[rows] + EARLY) / (step + EARLY)
        votes = votes * kept[:, None] ** POWER
        same = classes == predicted[:, None]
        place = np.where(same.any(1), same.argmax(1), votes.argmin(1))
        cast = np.arange(len(rows)), place
        votes[cast] = np.where(same.any(1), votes[cast], 0.0) + 1.0 - kept**POWER
        classes[cast] = predicted
        self._classes[rows], self._votes[rows], self._steps[rows] = classes, votes, step
        turned: Floats = ((leader != predicted) & (leader != _NONE)).astype(np.float64)
        return turned

    def state_dict(self) -> dict[str, Any]:
        """The whole state, as plain JSON values."""
        return {
            "classes": self._classes.tolist(),
            "votes": self._votes.tolist(),
            "steps": self._steps.tolist(),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Votes:
        """The votes whose :meth:`state_dict` this is."""
        votes = cls(len(state["steps"]))
        votes._classes = np.array(state["classes"], dtype=np.int64)
        votes._votes = np.array(state["votes"], dtype=np.float64)
        votes._steps = np.array(state["steps"], dtype=np.float64)
        return votes
