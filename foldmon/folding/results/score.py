"""Predictions of held-out inputs, and the loss and accuracy that follow for all of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from foldmon.folding.data.values import ByContent
from foldmon.folding.results.decision import certainty
from foldmon.folding.results.statistics import Floats, Ints

_DIGITS = 5


@dataclass(frozen=True, eq=False)
class Predictions(ByContent):
    """What a model makes of R inputs.

    Attributes:
        predicted: shape (R,), predicted class.
        losses: shape (R,), cross-entropy in nats to five digits, as a journal holds it; NaN where no class
            is known.
        correct: shape (R,), 1 where the prediction is right and 0 where it is not; NaN likewise.
        certainty: shape (R, CERTAINTY), as ``decision.certainty`` gives it.
    """

    predicted: Ints
    losses: Floats
    correct: Floats
    certainty: npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class HeldOutScore(ByContent):
    """Mean loss and accuracy over held-out inputs, of which each probe predicts a share.

    Attributes:
        loss: mean cross-entropy in nats; None without classes that the model's outputs stand for.
        loss_interval: its 95% interval, for the inputs that might have been drawn.
        accuracy: share of right predictions; None likewise.
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
        known, predictions = self.loss is not None, self.predictions
        return {
            "loss": self.loss,
            "loss_interval": None if self.loss_interval is None else list(self.loss_interval),
            "accuracy": self.accuracy,
            "accuracy_interval": None if self.accuracy_interval is None else list(self.accuracy_interval),
            "inputs": self.inputs,
            "measured": None if self.measured is None else self.measured.tolist(),
            "losses": predictions.losses.tolist() if known else None,
            "correct": predictions.correct.astype(np.int64).tolist() if known else None,
            "predicted": predictions.predicted.tolist(),
        }

    def __str__(self) -> str:
        if self.accuracy is None or self.accuracy_interval is None or self.loss_interval is None:
            return f"{self.inputs} inputs without classes that the outputs stand for"
        (low, high), (lowest, highest) = self.loss_interval, self.accuracy_interval
        return (
            f"loss {self.loss:.4f} [{low:.4f}, {high:.4f}], "
            f"accuracy {self.accuracy:.1%} [{lowest:.1%}, {highest:.1%}] over {self.inputs} inputs"
        )


def class_numbers(labels: npt.NDArray[Any] | None) -> Ints | None:
    """Labels as places among a model's outputs, shape (N,); None where they are no such numbers.

    Example:
        >>> import numpy as np
        >>> from foldmon.folding.results.score import class_numbers
        >>> class_numbers(np.array([True, False])).tolist(), class_numbers(np.array([-1, 1]))
        ([1, 0], None)
    """
    if labels is None or labels.dtype.kind not in "iubf" or (labels < 0).any() or (labels % 1 != 0).any():
        return None
    return labels.astype(np.int64)


def score(logits: Tensor, labels: Tensor | None) -> Tensor:
    """Class, loss, correctness and certainty of each prediction.

    Args:
        logits: shape (R, C).
        labels: shape (R,), classes below C, or None.

    Returns:
        Shape (R, 3 + CERTAINTY), float32: NaN in the columns of loss and correctness without labels.
    """
    predicted = logits.argmax(1)
    found = torch.full((len(logits), 3), torch.nan, device=logits.device)
    found[:, 0] = predicted
    if labels is not None:
        found[:, 1] = torch.nn.functional.cross_entropy(logits.float(), labels, reduction="none")
        found[:, 2] = predicted == labels
    return torch.cat([found, certainty(logits)], dim=1)


def predictions_of(scores: Floats) -> Predictions:
    """The columns of :func:`score`, as numpy holds them."""
    return Predictions(
        predicted=scores[:, 0].astype(np.int64),
        losses=_short(scores[:, 1]),
        correct=scores[:, 2].astype(np.float64),
        certainty=scores[:, 3:].astype(np.float32),
    )


def _short(values: Floats) -> Floats:
    # What is published is computed from what the journal holds, to the last digit.
    return np.array([float(f"{value:.{_DIGITS}g}") for value in values.tolist()])
