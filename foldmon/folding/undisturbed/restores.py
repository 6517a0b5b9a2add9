"""How one container or one random generator is put back where it has changed."""

from __future__ import annotations

import array
import ctypes
import io
import operator
import os
import random
import types
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from foldmon.folding.undisturbed.containers import items_of
from foldmon.folding.undisturbed.reach import GlobalName

Restore = Callable[[], bool]
"""Puts something back where it has changed; says whether it had."""

_MOST_BYTES = 2**20

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
    kind: Any = OrderedDict if isinstance(mapping, OrderedDict) else dict  # which has an order of its own
    keys, values = list(kind.keys(mapping)), list(kind.values(mapping))

    def restore() -> bool:
        if same(kind.values(mapping), values) and same(kind.keys(mapping), keys):
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


def keep_memory(thing: Any) -> Restore | None:
    """Bytes that a thing lets others write to, as arrays of ``array`` and ``ctypes`` and mapped files do.

    None for what has none, and for more than a mebibyte.

    Example:
        >>> import array
        >>> held = array.array("d", [1.0])
        >>> restore = keep_memory(held)
        >>> held.append(2.0)
        >>> restore(), held, keep_memory(object())
        (True, array('d', [1.0]), None)
    """
    then = _bytes_of(thing)
    if then is None:
        return None

    def restore() -> bool:
        now = _bytes_of(thing)
        if now == then:
            return False
        if isinstance(thing, array.array):
            del thing[:]
            thing.frombytes(then)
        elif isinstance(thing, bytearray):
            thing[:] = then
        elif now is not None and len(now) == len(then):
            (ctypes.c_char * len(then)).from_buffer(thing).raw = then
        return True

    return restore


def _bytes_of(thing: Any) -> bytes | None:
    try:
        with memoryview(thing) as view:
            return None if view.readonly or view.nbytes > _MOST_BYTES else view.tobytes()
    except (TypeError, ValueError, BufferError):  # ValueError: a mapped file that is closed
        return None


def keep_file(file: io.IOBase) -> Restore | None:
    """The position of a file, and the end of one that is read and written; of one in memory all it holds.

    None for one that is only written: others may write to it, too.
    """
    try:
        if file.closed or not file.seekable() or not file.readable():
            return None
        if isinstance(file, io.StringIO | io.BytesIO):
            keep = keep_state(lambda: (file.getvalue(), file.tell()), lambda state: _refill(file, *state))
        elif file.writable():
            size = _size(file)
            keep = keep_state(file.tell, lambda place: _cut(file, place, size))
        else:
            keep = keep_state(file.tell, file.seek)
    except Exception:
        return None  # a file in name only
    return lambda: not file.closed and keep()


def _refill(file: Any, content: Any, place: int) -> None:
    file.seek(0)
    file.truncate()
    file.write(content)
    file.seek(place)


def _size(file: Any) -> int:
    file.flush()
    return os.fstat(file.fileno()).st_size


def _cut(file: Any, place: int, size: int) -> None:
    if _size(file) > size:
        file.truncate(size)
    file.seek(place)


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


UNSET = object()
"""What an empty variable holds."""


@dataclass(frozen=True)
class Variable:
    """A place with a name: how it is read (``UNSET`` where it is empty), written and emptied."""

    read: Callable[[], Any]
    write: Callable[[Any], object]
    delete: Callable[[], object]

    def keep(self) -> Restore:
        """How it is put back."""
        then = self.read()

        def restore() -> bool:
            if self.read() is then:
                return False
            self.delete() if then is UNSET else self.write(then)
            return True

        return restore


def variable_of(place: types.CellType | GlobalName) -> Variable:
    """The variable of a closure, or of a module."""
    if isinstance(place, types.CellType):
        return Variable(
            lambda: _content_of(place),
            lambda value: setattr(place, "cell_contents", value),
            lambda: delattr(place, "cell_contents"),
        )
    names, name = place.namespace, place.name
    return Variable(
        lambda: names.get(name, UNSET), lambda value: names.__setitem__(name, value), lambda: names.pop(name)
    )


def _content_of(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return UNSET
