"""How right predictions are: a loss and a share of right labels for each input, from labels.

Losses are natural logarithms. Where inputs have differing numbers of labels (tokens, pixels, the rest
ignored), a loss counts by that number, so that the mean over inputs is the mean over labels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from foldmon.folding.results.heads import Head
from foldmon.folding.results.outputs import prediction_of
from foldmon.folding.results.targets import IGNORED, Targets

Judged = tuple[Tensor, Tensor | None]
"""Of each input its loss and the share of its labels that is predicted right, both of shape (R,); None
where that is unknown."""

Judge = Callable[[Any, int, Tensor], Judged | None]
"""Judges an output for R inputs by their labels, shape (R, ...); None where these do not fit each other."""


@dataclass(frozen=True)
class ByClass:
    """Cross-entropy of classes of which one is right, or whose probabilities are told; binary ones too."""

    head: Head

    def __call__(self, output: Any, rows: int, labels: Tensor) -> Judged | None:
        logits = self.head.logits(output, rows)
        if logits is None:
            return None
        predicted, logits = logits.argmax(1), logits.float()
        right = labels if labels.ndim == 1 else labels.argmax(1)
        losses = F.cross_entropy(logits, _like(labels, logits), reduction="none")
        return losses, (predicted == right).float()


@dataclass(frozen=True)
class ByLabel:
    """Binary cross-entropy of labels, each of which is right or not; its mean over the labels of an input."""

    head: Head

    def __call__(self, output: Any, rows: int, labels: Tensor) -> Judged | None:
        logits = self.head.logits(output, rows)
        return None if logits is None else _of_flags(logits, labels)


@dataclass(frozen=True)
class ByFlag:
    """Binary cross-entropy of as many numbers as there are zeros and ones to foretell: masks of images.

    Attributes:
        probabilities: whether these are probabilities and not logits.
    """

    probabilities: bool

    def __call__(self, output: Any, rows: int, labels: Tensor) -> Judged | None:
        found = prediction_of(output, rows)[0]
        if found is None or found.numel() != labels.numel():
            return None
        logits = found.reshape(rows, -1)
        if self.probabilities:
            logits = torch.logit(logits.float().clamp(0, 1), eps=1e-7)
        return _of_flags(logits, labels.reshape(rows, -1))


@dataclass(frozen=True)
class ByPosition:
    """Cross-entropy of a class for every token or pixel; labels that are none of the classes are ignored.

    Attributes:
        shift: by so many places a prediction stands before its label, 0, or 1 for next tokens.
        count: mean number of labels an input.
    """

    shift: int
    count: float

    def __call__(self, output: Any, rows: int, labels: Tensor) -> Judged | None:
        logits = prediction_of(output, rows)[0]
        logits = None if logits is None else _classes_second(logits, labels)
        if logits is None:
            return None
        if self.shift:
            logits, labels = logits[..., : -self.shift], labels[..., self.shift :]
        labels = labels.where((labels >= 0) & (labels < logits.shape[1]), IGNORED)
        losses = F.cross_entropy(logits.float(), labels, reduction="none", ignore_index=IGNORED)
        counted = labels >= 0
        right = ((logits.argmax(1) == labels) | ~counted).flatten(1).sum(1) - (~counted).flatten(1).sum(1)
        counts = counted.flatten(1).sum(1)
        shares = torch.where(counts > 0, right / counts.clamp(min=1), 1.0)
        return losses.flatten(1).sum(1) / self.count, shares

    @staticmethod
    def of(targets: Targets, shift: int, classes: int | None = None) -> ByPosition:
        """For labels of shape (N, ...), of so many classes where that is known."""
        assert targets.values is not None
        values = targets.values[..., shift:]
        counted = ((values >= 0) & (values < (values.max() + 1 if classes is None else classes))).sum()
        return ByPosition(shift, max(1.0, float(counted)) / len(targets.values))


@dataclass(frozen=True)
class BySquare:
    """Mean squared error."""

    def __call__(self, output: Any, rows: int, labels: Tensor) -> Judged | None:
        found = prediction_of(output, rows)[0]
        if found is None or found.numel() != labels.numel():
            return None
        errors = found.reshape(rows, -1).float() - labels.reshape(rows, -1)
        return errors.square().mean(1), None


def by_itself(head: Head | None, targets: Targets, output: Any, rows: int) -> Judge | None:
    """How labels are judged without being told, None where they do not say.

    Args:
        head: how outputs are read as classes.
        targets: all labels.
        output: of the model for a few inputs.
        rows: number of these.
    """
    values = targets.values
    logits = None if head is None else head.logits(output, rows)
    found = prediction_of(output, rows)[0]
    if values is None:
        return None
    if head is not None and logits is not None and not (head.last and values.ndim > 1):
        if head.kind == "labels":
            return ByLabel(head) if targets.flags and values.shape[1:] == logits.shape[1:] else None
        return ByClass(head) if _fit(targets, logits, head.kind == "binary") else None
    if found is None:
        return None
    probabilities = bool(((found >= 0) & (found <= 1)).all())
    positions = _classes_second(found, values[:1])
    if positions is not None and targets.positions_among(positions.shape[1]):
        return ByPosition.of(targets, 0, positions.shape[1])
    whole = found[0].numel() == values[0].numel() and values.ndim > 2
    return ByFlag(probabilities) if targets.flags and whole else None


def _fit(targets: Targets, logits: Tensor, binary: bool) -> bool:
    """Whether labels are classes of these, or distributions over them; who says ``classes=True`` may err."""
    assert targets.values is not None
    if binary:
        return targets.single and (targets.flags or targets.signs)
    same = targets.values.shape[1:] == logits.shape[1:]
    return targets.stand_for(logits.shape[1]) or (same and targets.shares)


def _of_flags(logits: Tensor, labels: Tensor) -> Judged:
    losses = F.binary_cross_entropy_with_logits(logits.float(), labels.float(), reduction="none").mean(1)
    return losses, ((logits > 0) == (labels > 0)).float().mean(1)


def _like(labels: Tensor, logits: Tensor) -> Tensor:
    """Classes as they are, a distribution in the type of the logits."""
    return labels if labels.ndim == 1 else labels.to(logits.dtype)


def _classes_second(found: Tensor, labels: Tensor) -> Tensor | None:
    """Logits as (R, C, ...), with the dimensions of the labels behind; None where they do not fit."""
    sizes = labels.shape[1:]
    if found.ndim != labels.ndim + 1 or not sizes:
        return None
    behind, before = found.shape[1:-1] == sizes, found.shape[2:] == sizes
    # Of tokens the classes are usually last, of images second.
    if behind and (labels.ndim == 2 or not before):
        return found.movedim(-1, 1)
    return found if before else None
