"""Causal language models that can leave out the logits of positions that nobody reads."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from foldmon.folding.data.trees import call, take_rows
from foldmon.folding.model.taps import Taps
from foldmon.folding.results.outputs import prediction_of

# What models of the transformers library name the number of positions, now and before.
_NAMES = ("logits_to_keep", "num_logits_to_keep")


def ask_for_last_logits(model: nn.Module, inputs: Any) -> Callable[[nn.Module, Any], Any] | None:
    """A way to call the model for the logits of the last position alone.

    Tried on one input, within eval mode: the activation layers must see what they saw, and the class that is
    read must be the same.

    Args:
        model: any module.
        inputs: as the model takes them, batch first.

    Returns:
        ``forward(model, inputs)``; None where the model knows of no such way, or the way changes anything.
    """
    name = _keyword(model)
    if name is None or (isinstance(inputs, dict) and name in inputs):
        return None

    def forward(model: nn.Module, inputs: Any) -> Any:
        return call(lambda *args, **kwargs: model(*args, **kwargs, **{name: 1}), inputs)

    row = take_rows(inputs, torch.zeros(1, dtype=torch.int64, device="cpu"))
    try:
        whole, last = _look(model, call, row), _look(model, forward, row)
    except Exception:
        return None  # where it cannot be called at all, scouting will say so
    return forward if _agree(whole, last) else None


def _keyword(model: nn.Module) -> str | None:
    try:
        known = inspect.signature(model.forward).parameters
    except (TypeError, ValueError):
        return None  # compiled code without a signature
    return next((name for name in _NAMES if name in known), None)


_Looked = tuple[list[tuple[str, torch.Size]], Tensor | None]


def _look(model: nn.Module, forward: Callable[[nn.Module, Any], Any], row: Any) -> _Looked:
    """What the activation layers saw, by shape, and the logits that are read."""
    sites: list[tuple[str, torch.Size]] = []
    with Taps(model, lambda site, reading: sites.append((site, reading.values.shape)), lean=True) as taps:
        taps.restart()
        output = forward(model, row)
    logits = prediction_of(output, 1)[0]
    return sites, logits[:, -1] if logits is not None and logits.ndim == 3 else logits


def _agree(whole: _Looked, last: _Looked) -> bool:
    (sites, logits), (others, kept) = whole, last
    if sites != others or logits is None or kept is None or logits.shape != kept.shape:
        return False
    # Rounding differs with the number of positions.
    slack = torch.finfo(logits.dtype).eps ** 0.5 * float(logits.abs().max())
    return torch.equal(logits.argmax(1), kept.argmax(1)) and torch.allclose(logits, kept, rtol=0, atol=slack)
