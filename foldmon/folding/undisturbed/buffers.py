"""Put a model's buffers back, or measure with those of another rank."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

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
