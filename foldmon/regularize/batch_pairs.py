"""Pairs within a training batch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from foldmon.folding.data.pairs import Pairs
from foldmon.folding.data.trees import batch_size, take_rows


def pairs_in_batch(
    inputs: Any, labels: Any, count: int, generator: torch.Generator
) -> tuple[Pairs, Tensor] | None:
    """Join inputs of one batch at random, without a copy from the device to the host.

    Args:
        inputs: the model's inputs as tensors, batch first.
        labels: class of each input, integers of shape (B,), or None to pair regardless of class.
        count: pairs wanted; a batch of B inputs gives at most B, each input starting one path at most.
        generator: draws on the CPU.

    Returns:
        The pairs, and which of them join different classes, bool of shape (P,); None where the batch
        holds a single input.

    Raises:
        ValueError: labels that are not one integer an input.
    """
    size = batch_size(inputs)
    if size < 2:
        return None
    classes = torch.arange(size, device="cpu") if labels is None else _checked(labels, size)
    first = torch.randperm(size, generator=generator, device="cpu")[:count].to(classes.device)
    scores = torch.rand((len(first), size), generator=generator, device="cpu").to(classes.device)
    scores = scores.masked_fill(classes[first].unsqueeze(1) == classes, -1.0)
    best, second = scores.max(1)
    return Pairs(take_rows(inputs, first), take_rows(inputs, second)), best >= 0


def _checked(labels: Any, size: int) -> Tensor:
    classes = torch.as_tensor(labels)
    if classes.shape != (size,) or classes.is_floating_point():
        raise ValueError(
            f"labels must be one integer an input, shape ({size},), got {classes.dtype} of shape "
            f"{tuple(classes.shape)}; leave them out to pair inputs regardless of class"
        )
    return classes
