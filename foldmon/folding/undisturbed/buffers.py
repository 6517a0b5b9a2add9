"""A model's buffers: put back as they were, or exchanged for those of another rank."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from foldmon.torch_internals import buffers_of, is_lazy


@contextmanager
def kept_buffers(model: nn.Module) -> Iterator[None]:
    """Put the model's buffers back at the end of the block: a forward pass may write to them in eval mode.

    Tensors are exchanged, not written to: a backward pass may still need the own ones.
    """
    own = [
        (buffers_of(module), dict(buffers_of(module)))
        for module in model.modules()
        if buffers_of(module) and not isinstance(module, torch.jit.ScriptModule)
    ]
    copies: dict[int, Any] = {}
    try:
        for buffers, kept in own:
            for name, tensor in kept.items():
                if tensor is not None and not is_lazy(tensor):
                    buffers[name] = copies.setdefault(id(tensor), tensor.detach().clone())
        yield
    finally:
        for buffers, kept in own:
            buffers.clear()
            buffers.update(kept)


@contextmanager
def exchanged_buffers(
    model: nn.Module, values: Callable[[Sequence[Tensor]], Sequence[Tensor]]
) -> Iterator[None]:
    """Run the model with other buffers until the end of the block.

    Tensors are exchanged, not written to: a backward pass may still need the own ones.

    Args:
        model: whose buffers are exchanged; one without any is left alone.
        values: from the model's own buffers, in order, to those to run with.
    """
    places = [
        (buffers_of(m), name) for m in model.modules() for name, b in buffers_of(m).items() if b is not None
    ]
    own = [tensor for buffers, name in places if (tensor := buffers[name]) is not None]
    try:
        for (buffers, name), mine, value in zip(places, own, values(own) if own else own, strict=True):
            buffers[name] = value.to(mine.device)
        yield
    finally:
        for (buffers, name), mine in zip(places, own, strict=True):
            buffers[name] = mine
