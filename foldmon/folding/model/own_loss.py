"""Models that put out a loss of their own where labels are passed to them, as language models do."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from foldmon.folding.data.trees import call
from foldmon.folding.results.judges import Judge, Judged
from foldmon.folding.results.outputs import loss_of

_NAMES = ("labels", "targets", "target", "label")
_CLOSE = 1e-3


def keyword_of_labels(model: nn.Module, inputs: Any) -> str | None:
    """What the model names the labels that may be passed to it, None where it knows of none.

    Example:
        >>> import torch
        >>> from foldmon.folding.model.own_loss import keyword_of_labels
        >>> class Model(torch.nn.Module):
        ...     def forward(self, tokens, targets=None):
        ...         return tokens
        >>> keyword_of_labels(Model(), torch.zeros(2, 3))
        'targets'
    """
    try:
        known = inspect.signature(model.forward).parameters
    except (TypeError, ValueError):
        return None  # compiled code without a signature
    given = set(inputs) if isinstance(inputs, dict) else set()
    names = (name for name in _NAMES if name in known and name not in given)
    return next((name for name in names if known[name].default is not inspect.Parameter.empty), None)


def call_with_labels(model: nn.Module, inputs: Any, labels: Tensor, keyword: str) -> Any:
    """Call a model with labels beside its inputs."""
    return call(lambda *args, **kwargs: model(*args, **kwargs, **{keyword: labels}), inputs)


def agreeing(output: Any, labels: Tensor, candidates: Iterable[tuple[Judge, Judge]]) -> Judge | None:
    """The judge whose loss is the model's own, None where none's is.

    Args:
        output: of the model for one input, with its loss.
        labels: of this input, shape (1, ...).
        candidates: judges of this input alone, and what they are for all inputs.
    """
    loss = loss_of(output)
    if loss is None:
        return None
    nearest: tuple[float, Judge | None] = torch.inf, None
    for one, every in candidates:
        judged = one(output, 1, labels)
        if judged is not None and (apart := abs(float(judged[0].sum()) - float(loss))) < nearest[0]:
            nearest = apart, every
    return nearest[1] if nearest[0] <= _CLOSE * max(1e-6, abs(float(loss))) else None


def own_loss(output: Any, rows: int, labels: Tensor) -> Judged | None:
    """The model's own loss of a single input, as it is: a judge for batches of one."""
    loss = loss_of(output)
    return None if loss is None or rows != 1 else (loss.reshape(1), None)
