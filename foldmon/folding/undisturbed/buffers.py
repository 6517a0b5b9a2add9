"""A model's buffers, exchanged for those of another rank."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from torch import Tensor, nn

from foldmon.torch_internals import buffers_of


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
