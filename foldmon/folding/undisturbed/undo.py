"""How to undo changes of one object: a random generator, an array, a class, a container, an iterator."""

from __future__ import annotations

import functools
import itertools
import random
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
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


def undo_of_generator(thing: Any) -> Undo | None:
    """How to put a random generator back; None for anything else."""
    if isinstance(thing, torch.Generator):
        return functools.partial(thing.set_state, thing.get_state())
    if isinstance(thing, np.random.Generator | np.random.BitGenerator):
        bits = thing.bit_generator if isinstance(thing, np.random.Generator) else thing
        return functools.partial(setattr, bits, "state", bits.state)
    if isinstance(thing, np.random.RandomState):
        return functools.partial(thing.set_state, thing.get_state())
    if isinstance(thing, random.Random) and not isinstance(thing, random.SystemRandom):
        return functools.partial(thing.setstate, thing.getstate())
    return None


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


def undo_dict(thing: dict[Any, Any], kept: dict[Any, Any]) -> None:
    """The same entries in the same order."""
    if list(thing) != list(kept) or any(thing[name] is not value for name, value in kept.items()):
        dict.clear(thing)
        dict.update(thing, kept)


def undo_list(thing: list[Any], kept: list[Any]) -> None:
    """The same elements."""
    if len(thing) != len(kept) or any(a is not b for a, b in zip(thing, kept, strict=True)):
        list.__setitem__(thing, slice(None), kept)


def undo_collection(thing: set[Any] | deque[Any], kept: list[Any]) -> None:
    """The same elements."""
    if list(thing) != kept:
        thing.clear()
        (thing.update if isinstance(thing, set) else thing.extend)(kept)
