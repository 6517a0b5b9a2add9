"""Whether a model's output is a prediction of classes, and how it is read as logits.

Labels tell where there are any: whole numbers below the number of outputs are classes; zeros and ones of a
single output, or of as many outputs as labels, are binary, and so are -1 and 1 of a single output. Without
labels an output counts as classes only where that is plausible: rows that are distributions, a sigmoid's
output, logits that are named so, the scores of next tokens, or at least three numbers that are neither as
many as an input has, nor a vector of unit length or of an embedding's usual size, nor one of several things
put out. What is told by ``classes`` settles it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from foldmon.folding.results.decision import certainty, certainty_of_labels
from foldmon.folding.results.outputs import parts_of, prediction_of
from foldmon.folding.results.targets import Targets

Classes = bool | Callable[[Any], Tensor] | None
"""Whether outputs are predictions of classes, or what gives the logits of one; None: that is found out."""

Made = Literal["sigmoid", "linear"] | None
"""By which function an output was made, where that is known."""

# BCELoss bounds its logarithms likewise.
_LOG_ZERO = -100.0
_FULL_WORD = 53  # bits of a whole number that every reader of JSON holds
# An embedding has a power of two of numbers, or a multiple of this, and at least so many.
_SIZES, _LEAST = 64, 16


@dataclass
class Head:
    """How outputs are read.

    Attributes:
        kind: "classes" of which one is right; "binary": a single output for two classes; "labels", each of
            which is right or not.
        probabilities: whether outputs are probabilities and not logits.
        unsure: whether that was told by their values alone: the first beyond them tells otherwise.
        last: whether an output holds predictions for each position, of which the last is read.
        given: gives the logits of an output, None where they are its own tensor.
    """

    kind: Literal["classes", "binary", "labels"]
    probabilities: bool = False
    unsure: bool = False
    last: bool = False
    given: Callable[[Any], Tensor] | None = None

    def logits(self, output: Any, rows: int) -> Tensor | None:
        """Logits of each row, None where the output has changed its form.

        Args:
            output: of the model.
            rows: R.

        Returns:
            Shape (R, C), C classes (0 is the rival of a single logit) or labels.
        """
        found = prediction_of(output, rows)[0] if self.given is None else self.given(output)
        if found is None or len(found) != rows:
            return None
        if found.ndim == 3 and self.last:
            found = found[:, -1]
        if self.kind == "binary":
            return self._two_sided(found.reshape(rows)) if found.numel() == rows else None
        if found.ndim != 2:
            return None
        return self._scaled(found)

    def _two_sided(self, single: Tensor) -> Tensor:
        if self._are_probabilities(single):
            return torch.stack([_log(1 - single), _log(single)], dim=1)
        return torch.stack([torch.zeros_like(single), single], dim=1)

    def _scaled(self, found: Tensor) -> Tensor:
        if not self._are_probabilities(found):
            return found
        return _log(found) - _log(1 - found) if self.kind == "labels" else _log(found)

    def _are_probabilities(self, found: Tensor) -> bool:
        if self.probabilities and self.unsure and not _within_one(found):
            self.probabilities = False
        return self.probabilities

    def predicted(self, logits: Tensor) -> Tensor:
        """The class of each row, shape (R,): of several labels the number of the set that is predicted."""
        return _numbers_of_sets(logits > 0) if self.kind == "labels" else logits.argmax(1)

    def certainty(self, logits: Tensor) -> Tensor:
        """How sure each prediction is, shape (R, CERTAINTY), see ``decision.certainty``."""
        return certainty_of_labels(logits) if self.kind == "labels" else certainty(logits)


def head_of(
    output: Any,
    rows: int,
    *,
    classes: Classes = None,
    targets: Targets | None = None,
    size: int = 0,
    tokens: bool = False,
    made: Made = None,
) -> Head | str:
    """How a model's outputs are read as classes; in words why not, where they are none.

    Args:
        output: of the model for a few inputs.
        rows: number of these.
        classes: as the user says.
        targets: labels.
        size: numbers in one input.
        tokens: whether inputs are sequences of whole numbers.
        made: by which function the predictions were made.

    Raises:
        ValueError: ``classes`` is a function that gives no logits.

    Example:
        >>> import torch
        >>> from foldmon.folding.results.heads import head_of
        >>> from foldmon.folding.results.targets import Targets
        >>> output, labels = torch.randn(5, 10), Targets.of(torch.arange(200) % 10)
        >>> head_of(output, 5, targets=labels).kind, head_of(output[:, :2], 5)
        ('classes', 'two numbers without labels may be anything')
    """
    if classes is False:
        return "classes=False"
    targets = targets or Targets()
    if callable(classes):
        return _given(classes, output, rows, targets)
    found, named = prediction_of(output, rows)
    if found is None:
        return "it holds no single tensor with a row an input"
    last = found.ndim == 3 and (named or tokens)
    if last:
        found = found[:, -1]
    if found.ndim > 1 and found.shape[1:].numel() == 1:
        found = found.reshape(rows)
    if found.ndim > 2 or not found.numel():
        return f"its shape {tuple(found.shape)} is no row of classes an input"
    told = _labelled(found, targets, made) if targets.given else _plausible(found, output, named, last, made)
    if told is None and classes is None and found.ndim == 2 and not last:
        told = _no_classes(found, targets, size)
    if isinstance(told, str):
        return told if classes is None else Head("binary" if found.ndim == 1 else "classes", last=last)
    return _head(found, targets, made, last)


def _given(classes: Callable[[Any], Tensor], output: Any, rows: int, targets: Targets) -> Head:
    try:
        logits = classes(output)
    except Exception as error:
        raise ValueError(f"classes= could not read an output: {type(error).__name__}: {error}") from error
    if not isinstance(logits, Tensor) or logits.shape[:1] != (rows,) or not 1 <= logits.ndim <= 3:
        shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ValueError(f"classes= is to give logits of shape ({rows}, C) for {rows} inputs, got {shape}")
    last = logits.ndim == 3
    found = logits[:, -1] if last else logits
    single = found.ndim == 1 or found.shape[1] == 1
    kind: Any = "binary" if single else "labels" if _several(found, targets, None) else "classes"
    return Head(kind, last=last, given=classes)


def _labelled(found: Tensor, targets: Targets, made: Made) -> str | None:
    """Why the output is no prediction of classes although there are labels."""
    if found.ndim == 1:
        two = (targets.single and (targets.flags or targets.signs)) or targets.names == 2
        return None if two else "its labels are no classes"
    outputs = found.shape[1]
    fits = targets.stand_for(outputs) or targets.positions_among(outputs)
    fits = fits or (_matches(found, targets) and (targets.flags or targets.shares))
    return None if fits else f"its labels are no classes among its {outputs} numbers"


def _plausible(found: Tensor, output: Any, named: bool, last: bool, made: Made) -> str | None:
    """Why the output is not plausibly a prediction of classes, without labels."""
    others = [part for part in parts_of(output) if part.is_floating_point() and part.ndim > 1]
    if _is_distribution(found) or made == "sigmoid":
        alike = len(others) > 2 and len({part.shape for part in others}) == 1
        return "it is one of several things put out" if alike else None
    if found.ndim == 1:
        return "a single number without labels may be anything"
    if found.ndim == 2 and _is_distribution(found.exp()):
        return None
    if named or last:
        return None
    if found.shape[1] == 2:
        return "two numbers without labels may be anything"
    if len(others) > 2 or (len(others) == 2 and others[0].shape == others[1].shape):
        return "it is one of several things put out"
    return "it has an embedding's size" if _has_embeddings_size(found.shape[1]) else None


def _no_classes(found: Tensor, targets: Targets, size: int) -> str | None:
    """Why the output is a reconstruction or an embedding although its size would do for classes."""
    outputs = found.shape[1]
    if _matches(found, targets) or targets.top == outputs - 1 or _is_distribution(found):
        return None
    if outputs == size:
        return "it has the size of an input, as a reconstruction has"
    lengths = found.detach().float().norm(dim=1)
    if bool(((lengths - 1).abs() < 1e-2).all()):
        return "its rows have unit length, as an embedding's have"
    few = targets.given and 2 * max(targets.top + 1, targets.names) <= outputs
    if few and _has_embeddings_size(outputs):
        return "most of its numbers stand for no label, and it has an embedding's size"
    return None


def _head(found: Tensor, targets: Targets, made: Made, last: bool) -> Head:
    if found.ndim == 2 and not _several(found, targets, made):
        return Head("classes", probabilities=_is_distribution(found) or made == "sigmoid", last=last)
    kind: Any = "binary" if found.ndim == 1 else "labels"
    unsure = made is None and _within_one(found) and not targets.signs
    return Head(kind, made == "sigmoid" or unsure, unsure, last)


def _several(found: Tensor, targets: Targets, made: Made) -> bool:
    """Whether each output is a label of its own."""
    if not targets.given:
        return made == "sigmoid"
    return _matches(found, targets) and targets.flags and (made == "sigmoid" or not targets.shares)


def _matches(found: Tensor, targets: Targets) -> bool:
    return targets.values is not None and targets.values.shape[1:] == found.shape[1:] and found.ndim == 2


def _has_embeddings_size(outputs: int) -> bool:
    return outputs >= _LEAST and (outputs & (outputs - 1) == 0 or outputs % _SIZES == 0)


def _is_distribution(found: Tensor) -> bool:
    """Whether each row holds probabilities of classes that exclude each other."""
    if found.ndim != 2 or found.shape[1] < 2 or not _within_one(found):
        return False
    slack = max(1e-4, 4 * torch.finfo(found.dtype).eps)
    return bool(((found.detach().float().sum(1) - 1).abs() <= slack).all())


def _within_one(found: Tensor) -> bool:
    return bool(((found >= 0) & (found <= 1)).all())


def _log(probabilities: Tensor) -> Tensor:
    return probabilities.float().log().clamp_min(_LOG_ZERO)


def _numbers_of_sets(chosen: Tensor) -> Tensor:
    """A number for each row of flags: equal sets have equal ones, and others nearly surely other ones.

    Up to 53 labels it is the sum of two to the power of each; of more the sum of pseudo-random numbers, below
    two to the 53rd.
    """
    whole = 2**_FULL_WORD
    weights = [2**place if place < _FULL_WORD else pow(3, place, whole) for place in range(chosen.shape[1])]
    sums: Tensor = (chosen.to(torch.int64) * torch.tensor(weights, device=chosen.device)).sum(1)
    sums &= whole - 1  # the sum wraps at 64 bits, which leaves these
    return sums
