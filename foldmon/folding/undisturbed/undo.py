"""How to undo changes of one object: an array, a tensor, a class, an iterator."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor

Undo = Callable[[], object]


class Remembering:
    """Yields what an iterator yields, and then can yield it again."""

    def __init__(self, iterator: Iterator[Any]) -> None:
        self._yielded: list[Any] = []
        self._iterator, self._anew = iterator, itertools.chain(self._yielded, iterator)

    def __iter__(self) -> Remembering:
        return self

    def __next__(self) -> Any:
        self._yielded.append(next(self._iterator))
        return self._yielded[-1]

    def anew(self) -> Iterator[Any]:
        """One that yields all of it; the iterator itself where nothing was taken from it."""
        return self._anew if self._yielded else self._iterator


def undo_array(array: npt.NDArray[Any], kept: npt.NDArray[Any]) -> None:
    """Write to it only where it differs."""
    if array.tobytes() != kept.tobytes():
        array[...] = kept


def undo_tensor(tensor: Tensor, kept: Tensor) -> None:
    """Write to it only where it differs, and leave the gradient out."""
    now = tensor.detach()
    if now.shape != kept.shape or not torch.equal(_bytes(now), _bytes(kept)):
        now.copy_(kept)


def _bytes(tensor: Tensor) -> Tensor:
    return tensor.contiguous().reshape(-1).view(torch.uint8)


def undo_class(kind: type, own: dict[str, Any]) -> None:
    """Attributes of a class as they were, but for those that Python keeps there."""
    for name in [name for name in vars(kind) if not name.startswith("__") and name not in own]:
        delattr(kind, name)
    for name, value in own.items():
        if vars(kind).get(name, own) is not value:
            setattr(kind, name, value)
