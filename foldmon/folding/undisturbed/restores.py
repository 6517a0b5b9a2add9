"""How one container or one random generator is put back where it has changed."""

from __future__ import annotations

import operator
import random
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from foldmon.folding.undisturbed.containers import items_of

Restore = Callable[[], bool]
"""Puts something back where it has changed; says whether it had."""

GENERATORS = (
    torch.Generator | np.random.Generator | np.random.BitGenerator | np.random.RandomState | random.Random
)


def same(now: Any, then: Any) -> bool:
    """Whether two collections hold the very same objects in the same order."""
    return len(now) == len(then) and all(map(operator.is_, now, then))


def keep_dict(mapping: dict[Any, Any]) -> Restore:
    """The same entries in the same order.

    Example:
        >>> held = {"a": 1}
        >>> restore = keep_dict(held)
        >>> held["b"] = 2
        >>> restore(), held, restore()
        (True, {'a': 1}, False)
    """
    keys, values = list(dict.keys(mapping)), list(dict.values(mapping))
    kind: Any = OrderedDict if isinstance(mapping, OrderedDict) else dict

    def restore() -> bool:
        if same(dict.values(mapping), values) and same(dict.keys(mapping), keys):
            return False
        kind.clear(mapping)
        for key, value in zip(keys, values, strict=True):
            kind.__setitem__(mapping, key, value)
        return True

    return restore


def keep_list(items: list[Any]) -> Restore:
    """The same items."""
    then = items_of(items)

    def restore() -> bool:
        if same(items_of(items), then):
            return False
        list.__setitem__(items, slice(None), then)
        return True

    return restore


def keep_filled(container: set[Any] | deque[Any] | bytearray) -> Restore:
    """The same items of a set, a deque or a bytearray."""
    then = items_of(container)

    def restore() -> bool:
        if same(items_of(container), then):
            return False
        container.clear()
        (container.update if isinstance(container, set) else container.extend)(then)
        return True

    return restore


def keep_generator(generator: Any) -> Restore | None:
    """The state of one of ``GENERATORS``; None for the system's, which has none."""
    if isinstance(generator, random.SystemRandom):
        return None
    if isinstance(generator, random.Random):
        return keep_state(generator.getstate, generator.setstate)
    if isinstance(generator, np.random.Generator | np.random.BitGenerator):
        bits = generator.bit_generator if isinstance(generator, np.random.Generator) else generator
        return keep_state(lambda: bits.state, lambda state: setattr(bits, "state", state))
    return keep_state(generator.get_state, generator.set_state)


def keep_state(read: Callable[[], Any], write: Callable[[Any], object]) -> Restore:
    """What is read and written as a whole."""
    then = read()

    def restore() -> bool:
        if same_values(read(), then):
            return False
        write(then)
        return True

    return restore


def same_values(a: Any, b: Any) -> bool:
    """Whether two states hold the same: tensors, arrays, collections of these, or anything with ``==``."""
    if isinstance(a, Tensor):
        return torch.equal(a, b)
    if isinstance(a, np.ndarray):
        return np.array_equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same_values(a[key], b[key]) for key in a)
    if isinstance(a, tuple | list):
        return len(a) == len(b) and all(map(same_values, a, b))
    return bool(a == b)
