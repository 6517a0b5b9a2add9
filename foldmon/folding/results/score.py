"""Predictions of held-out inputs, and the loss and accuracy that follow for all of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from foldmon.folding.data.values import ByContent
from foldmon.folding.results.statistics import Floats, Ints

_DIGITS = 5


@dataclass(frozen=True, eq=False)
class Predictions(ByContent):
    """What a model makes of R inputs.

    Attributes:
        predicted: shape (R,), predicted class, or the number of the set of labels that is predicted; None
            where outputs are no classes.
        losses: shape (R,), to five digits, as a journal holds it: cross-entropy in nats, or the loss that was
            given; None where none is known. Where inputs have differing numbers of labels, such as tokens,
            it is weighted by that number, so that the mean over inputs is the mean over labels.
        correct: shape (R,), share of an input's labels that is predicted right: 1 or 0 where it has one; None
            where that is unknown.
        certainty: shape (R, CERTAINTY), as ``decision.certainty`` gives it; None without classes.
    """

    predicted: Ints | None
    losses: Floats | None
    correct: Floats | None
    certainty: npt.NDArray[np.float32] | None

    @staticmethod
    def of(predicted: Any, losses: Any, correct: Any, certainty: Any) -> Predictions:
        """From arrays of any type."""
        return Predictions(
            predicted=None if predicted is None else predicted.astype(np.int64),
            losses=None if losses is None else _short(losses),
            correct=None if correct is None else _short(correct),
            certainty=None if certainty is None else certainty.astype(np.float32),
        )


@dataclass(frozen=True, eq=False)
class HeldOutScore(ByContent):
    """Mean loss and accuracy over held-out inputs, of which each probe predicts a share.

    Attributes:
        loss: mean loss, see ``Predictions``; None without labels that tell one.
        loss_interval: its 95% interval, for the inputs that might have been drawn.
        accuracy: share of right predictions; None where outputs are no classes.
        accuracy_interval: its 95% interval.
        inputs: number of inputs N that loss and accuracy are of.
        measured: shape (R,), places of those that were predicted now, block by block; None where all were.
        predictions: of these.
    """

    loss: float | None
    loss_interval: tuple[float, float] | None
    accuracy: float | None
    accuracy_interval: tuple[float, float] | None
    inputs: int
    measured: Ints | None
    predictions: Predictions

    def to_dict(self) -> dict[str, Any]:
        """What a journal keeps, as plain JSON values: every number can be computed again from it."""
        predictions = self.predictions
        return {
            "loss": self.loss,
            "loss_interval": None if self.loss_interval is None else list(self.loss_interval),
            "accuracy": self.accuracy,
            "accuracy_interval": None if self.accuracy_interval is None else list(self.accuracy_interval),
            "inputs": self.inputs,
            "measured": None if self.measured is None else self.measured.tolist(),
            "losses": None if predictions.losses is None else predictions.losses.tolist(),
            "correct": None
            if predictions.correct is None
            else [_whole(v) for v in predictions.correct.tolist()],
            "predicted": None if predictions.predicted is None else predictions.predicted.tolist(),
        }

    def __str__(self) -> str:
        parts = []
        if self.loss is not None and self.loss_interval is not None:
            parts.append("loss {:.4f} [{:.4f}, {:.4f}]".format(self.loss, *self.loss_interval))
        if self.accuracy is not None and self.accuracy_interval is not None:
            parts.append("accuracy {:.1%} [{:.1%}, {:.1%}]".format(self.accuracy, *self.accuracy_interval))
        if not parts:
            return f"{self.inputs} inputs without labels that tell a loss"
        return f"{', '.join(parts)} over {self.inputs} inputs"


def _whole(value: float) -> float | int:
    return int(value) if value in (0.0, 1.0) else value


def _short(values: Floats) -> Floats:
    # What is published is computed from what the journal holds, to the last digit.
    return np.array([float(f"{value:.{_DIGITS}g}") for value in values.tolist()])
