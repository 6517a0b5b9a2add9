"""A user's own loss, such as the training criterion, for each input alone."""

from __future__ import annotations

import copy
import functools
import inspect
import warnings
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Loss = Callable[[Any, Any], Tensor]
"""``loss(output, target)``: a tensor, a single number or one for each input."""

_CLOSE = 1e-3
_MODULES, _FUNCTIONS = (nn.CrossEntropyLoss, nn.NLLLoss), (F.cross_entropy, F.nll_loss)
_CALLED = (
    "It is called as loss(output, target). Write a function that takes from them what the loss needs, such "
    "as loss=lambda output, target: criterion(output[0], target)"
)


class LossFailedError(RuntimeError):
    """The user's loss has failed on outputs as it took them before."""


class Criterion:
    """A loss whose value is known of each input, so that two probes can be compared input by input.

    Three ways are tried, until the mean over inputs is what the loss gives for all of them: it gives a
    number for each input, as it is or with ``reduction="none"``; it is called for each input alone; else an
    input's value depends on the others of its batch, as in contrastive learning, and all inputs of a batch
    have the batch's.

    Args:
        loss: as the user gave it; called without gradients, in the thread that measures. Of a module a copy
            is called: what it keeps from call to call stays training's.
        targets: labels of all N inputs, or whatever stands in their place.

    Attributes:
        joint: whether values are those of batches.

    Example:
        >>> import torch
        >>> from foldmon.folding.results.criterion import Criterion
        >>> output, target = torch.tensor([[1.0], [2.0]]), torch.tensor([[0.0], [0.0]])
        >>> criterion = Criterion(torch.nn.MSELoss(), target)
        >>> criterion.understand(output, target, 2)
        >>> criterion(output, target, 2).tolist()
        [1.0, 4.0]
    """

    def __init__(self, loss: Loss, targets: Any) -> None:
        self._given, self._targets = loss, targets
        self.renew()
        self._way: Callable[[Any, Any, int], Tensor] = self._jointly

    def renew(self) -> None:
        """Take over a module's weights as they are now."""
        self._loss = _own(self._given)
        self._elements = _Elements(self._loss, self._targets)

    @property
    def joint(self) -> bool:
        """Whether an input's value is that of its whole batch."""
        return self._way == self._jointly

    def __call__(self, output: Any, target: Any, rows: int) -> Tensor:
        """The loss of each input, shape (R,), float32.

        Raises:
            LossFailedError: it fails.
        """
        try:
            values = self._way(output, target, rows)
            return values.detach().float().reshape(rows)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:
            raise LossFailedError(f"loss= failed: {type(error).__name__}: {error}") from error

    def understand(self, output: Any, target: Any, rows: int) -> None:
        """Find out how the loss is called.

        Args:
            output: of the model for a few inputs.
            target: their labels.
            rows: number of these inputs.

        Raises:
            ValueError: the loss does not take them, or gives no number.
        """
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                whole = self._loss(output, target)
        except Exception as error:
            raise ValueError(f"loss= failed: {type(error).__name__}: {error}\n{_CALLED}.") from error
        # Torch's losses of numbers take a column and a row for all pairs of their entries, and warn.
        if told := next((str(w.message) for w in caught if "target size" in str(w.message)), None):
            raise ValueError(f"loss= compares what differs in shape: {told.splitlines()[0]} {_CALLED}.")
        if not isinstance(whole, Tensor) or whole.is_complex() or whole.numel() == 0:
            raise ValueError(f"loss= gave {_outline(whole)} in place of a tensor of numbers. {_CALLED}.")
        several = whole.numel() > 1
        if several and whole.shape[:1] != (rows,):
            raise ValueError(
                f"loss= gave shape {tuple(whole.shape)}, which is neither a single number nor one for each "
                f"of {rows} inputs. {_CALLED}."
            )
        ways = [self._directly] if several else [self._by_elements, self._singly]
        value = float(whole.float().mean())
        agreed = (way for way in ways if several or self._agrees(way, output, target, rows, value))
        self._way = next(agreed, self._jointly)

    def _agrees(self, way: Any, output: Any, target: Any, rows: int, whole: float) -> bool:
        try:
            values = way(output, target, rows).float()
            found = [float(values.mean()), float(values.sum())]
            if way == self._by_elements:
                found = [float(self._elements.whole(output, target, rows))]
        except Exception:
            return False  # it takes no single input, or knows of no such reduction
        return any(abs(value - whole) <= _CLOSE * max(abs(whole), 1e-6) for value in found)

    def _directly(self, output: Any, target: Any, rows: int) -> Tensor:
        values: Tensor = self._loss(output, target).reshape(rows, -1).float().mean(1)
        return values

    def _by_elements(self, output: Any, target: Any, rows: int) -> Tensor:
        return self._elements.values(output, target, rows)

    def _singly(self, output: Any, target: Any, rows: int) -> Tensor:
        each = [self._loss(_row(output, row, rows), _row(target, row, rows)) for row in range(rows)]
        return torch.stack([value.reshape(()) for value in each])

    def _jointly(self, output: Any, target: Any, rows: int) -> Tensor:
        joint: Tensor = self._loss(output, target).reshape(()).expand(rows)
        return joint


class _Elements:
    """A loss with ``reduction="none"``: its sum over an input's elements, and by what each input counts.

    Args:
        loss: a module with that attribute, a function with that argument, or one that knows of no reduction.
        targets: labels of all N inputs: a cross-entropy of classes counts by their weights, and not at all by
            those that are ignored.
    """

    def __init__(self, loss: Any, targets: Any) -> None:
        self._loss, self._reduction = _without_reduction(loss)
        self._weigh = _weigher(loss, targets) if self._reduction == "mean" else None
        self._mean_weight = 1.0 if self._weigh is None else max(float(self._weigh(targets).mean()), 1e-12)

    def values(self, output: Any, target: Any, rows: int) -> Tensor:
        """Of each input, shape (R,)."""
        sums, number = self._sums(output, target, rows)
        return sums / (self._mean_weight if self._weigh is not None else number)

    def whole(self, output: Any, target: Any, rows: int) -> Tensor:
        """What the loss with its reduction gives, if it is as it is taken to be."""
        sums, number = self._sums(output, target, rows)
        if self._weigh is not None:
            return sums.sum() / self._weigh(target).sum()
        return sums.sum() if self._reduction == "sum" else sums.mean() / number

    def _sums(self, output: Any, target: Any, rows: int) -> tuple[Tensor, int]:
        if self._loss is None:
            raise TypeError("no reduction is known")
        elements = self._loss(output, target)
        if elements.shape[:1] != (rows,):
            raise ValueError("it has no value for each input")
        number = elements.numel() // rows if self._reduction == "mean" else 1
        return elements.reshape(rows, -1).float().sum(1), number


def _own(loss: Any) -> Any:
    if not isinstance(loss, nn.Module):
        return loss
    try:
        return copy.deepcopy(loss)
    except Exception:
        return loss  # of an unusual make


def _without_reduction(loss: Any) -> tuple[Any, str]:
    """The loss of each element, and how it was reduced; None for a loss that knows of no reduction."""
    if isinstance(loss, nn.Module):
        reduction = getattr(loss, "reduction", None)
        if not isinstance(reduction, str):
            return None, ""
        alone: Any = copy.copy(loss)  # its weights stay those of the loss
        alone.reduction = "none"
        return alone, reduction
    inner, given = (loss.func, loss.keywords) if isinstance(loss, functools.partial) else (loss, {})
    default = _default_reduction(inner)
    if default is None:
        return None, ""
    return functools.partial(loss, reduction="none"), str(given.get("reduction", default))


def _weigher(loss: Any, targets: Any) -> Callable[[Tensor], Tensor] | None:
    """By what each input counts in a cross-entropy of classes, by its labels; None where all count alike."""
    if not isinstance(targets, Tensor) or targets.is_floating_point():
        return None
    inner, given = (
        (loss.func, loss.keywords)
        if isinstance(loss, functools.partial)
        else (loss, getattr(loss, "__dict__", {}))
    )
    if not (isinstance(inner, _MODULES) or inner in _FUNCTIONS):
        return None
    ignored, weight = given.get("ignore_index", -100), getattr(inner, "weight", given.get("weight"))

    def weigh(labels: Tensor) -> Tensor:
        kept = labels != ignored
        counts: Tensor = kept.float()
        if weight is not None:
            counts = counts * weight.detach().to(labels.device)[labels.where(kept, 0)].float()
        return counts.flatten(1).sum(1) if counts.ndim > 1 else counts

    return weigh


def _default_reduction(function: Any) -> str | None:
    try:
        parameter = inspect.signature(function).parameters.get("reduction")
    except (TypeError, ValueError):
        return None
    return parameter.default if parameter is not None and isinstance(parameter.default, str) else None


def _row(tree: Any, row: int, rows: int) -> Any:
    """One row of an output or of targets, as a batch of one."""
    if isinstance(tree, Tensor):
        return tree[row : row + 1] if tree.ndim and len(tree) == rows else tree
    if isinstance(tree, Mapping):
        parts = {key: _row(value, row, rows) for key, value in tree.items()}
        return type(tree)(**parts) if is_dataclass(tree) else parts
    if isinstance(tree, list) and len(tree) == rows and not any(isinstance(item, Tensor) for item in tree):
        return [tree[row]]  # one dict a picture
    if isinstance(tree, tuple | list):
        items = [_row(item, row, rows) for item in tree]
        return type(tree)(*items) if hasattr(tree, "_fields") else type(tree)(items)
    if is_dataclass(tree) and not isinstance(tree, type):
        return replace(tree, **{f.name: _row(getattr(tree, f.name), row, rows) for f in fields(tree)})
    return tree


def _outline(value: Any) -> str:
    return f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
