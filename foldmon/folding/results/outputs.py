"""The parts of what a model puts out: the tensor that may hold its predictions, and a loss of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from torch import Tensor

_USUAL = (
    "out", "output", "outputs", "pred", "preds", "prediction", "predictions", "scores", "y_hat", "probs",
    "probabilities",
)  # fmt: skip


def prediction_of(output: Any, rows: int) -> tuple[Tensor | None, bool]:
    """The tensor of an output that holds the predictions, shape (rows, ...), and whether it is named
    "logits".

    That which a mapping, a dataclass or another object names "logits"; else the first floating-point tensor
    with the batch's rows of a tuple or list, and of a mapping or dataclass the only one, or the one among
    several that has another usual name.

    Args:
        output: as a model puts it out.
        rows: of the batch.

    Example:
        >>> import torch
        >>> from foldmon.folding.results.outputs import prediction_of
        >>> loss, logits = torch.tensor(0.3), torch.zeros(4, 2)
        >>> prediction_of((loss, logits), 4)[0].shape, prediction_of({"logits": logits}, 4)[1]
        (torch.Size([4, 2]), True)
    """
    named = output.get("logits") if isinstance(output, Mapping) else getattr(output, "logits", None)
    if isinstance(named, Tensor):
        return (whole(named), True) if _fits(named, rows) else (None, False)
    found = [tensor for tensor in parts_of(output) if _fits(tensor, rows)]
    if len(found) > 1 and not isinstance(output, Tensor | tuple | list):
        found = [tensor for tensor in _usually_named(output) if _fits(tensor, rows)]
    return (whole(found[0]) if found else None), False


def _usually_named(output: Any) -> Iterator[Tensor]:
    parts = (output.get(n) if isinstance(output, Mapping) else getattr(output, n, None) for n in _USUAL)
    yield from (part for part in parts if isinstance(part, Tensor))


def parts_of(output: Any) -> Iterator[Tensor]:
    """The tensors that an output holds side by side."""
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, Mapping):
        yield from (value for value in output.values() if isinstance(value, Tensor))
    elif isinstance(output, tuple | list):
        yield from (value for value in output if isinstance(value, Tensor))
    elif is_dataclass(output):
        values = (getattr(output, field.name) for field in fields(output))
        yield from (value for value in values if isinstance(value, Tensor))


def loss_of(output: Any) -> Tensor | None:
    """The loss that a model puts out beside its predictions, shape (): named so, or a single number."""
    named = output.get("loss") if isinstance(output, Mapping) else getattr(output, "loss", None)
    found = [named] if isinstance(named, Tensor) else []
    if not found and isinstance(output, tuple | list):
        found = [value for value in output if isinstance(value, Tensor) and value.ndim == 0]
    numbers = (value for value in found if value.numel() == 1 and value.is_floating_point())
    return next((number.reshape(()) for number in numbers), None)


def whole(tensor: Tensor) -> Tensor:
    """The tensor itself; of one that is spread over ranks (DTensor), which all run this, all of it."""
    gathered: Tensor = tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor
    return gathered


def _fits(tensor: Tensor, rows: int) -> bool:
    return tensor.is_floating_point() and tensor.ndim > 0 and len(tensor) == rows
