"""Use objects of the user's and leave them as they were: attributes, containers, generators, positions."""

from __future__ import annotations

import functools
import io
import itertools
import sys
import sysconfig
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from types import CellType, CodeType, FunctionType, GeneratorType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from foldmon.folding.undisturbed.containers import items_of, size_of
from foldmon.folding.undisturbed.restores import (
    GENERATORS,
    keep_dict,
    keep_file,
    keep_filled,
    keep_generator,
    keep_list,
    keep_memory,
)
from foldmon.folding.undisturbed.undo import (
    Remembering,
    Undo,
    undo_array,
    undo_class,
    undo_tensor,
)

# Bounds on what is looked through and kept, so that it costs next to nothing beside reading. What lies beyond
# them stays as the block leaves it: elements deep in long lists, large arrays that are written to.
_OBJECTS = 10_000
_ELEMENTS = 300
_LONGEST = 1_000_000
_ARRAY_BYTES = 2**20
_ALL_BYTES = 64 * 2**20

_ATOMS = (type(None), bool, int, float, complex, str, bytes, range, slice, ModuleType, CodeType, torch.dtype)
# Objects of these packages are none of the data's own, and other threads use them.
_LEFT_ALONE = {"logging", "threading", "_thread", "multiprocessing", "concurrent", "asyncio", "foldmon"}
# Iterators that yield each element once, and whose elements can be put in front of them again.
_EMPTY: tuple[Any, ...] = ([], (), {}, {}.values(), {}.items(), set(), "", b"", range(0), range(2**70))
_ONE_PASS: tuple[type, ...] = (
    *(GeneratorType, map, filter, zip, enumerate, reversed),
    *{type(iter(empty)) for empty in _EMPTY},
    *(kind for kind in vars(itertools).values() if isinstance(kind, type)),
)
_INSTALLED = tuple({sysconfig.get_paths()[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")})


class CannotPutBackError(ValueError):
    """Something would be used up for good."""


@contextmanager
def put_back(*roots: Any) -> Iterator[None]:
    """Leave whatever can be reached from some objects as it was before the block.

    Attributes of objects and of the user's classes; contents of containers; variables that the user's
    functions close over or read from their module; small arrays and tensors; positions of files; states of
    generators of torch, NumPy and Python. Iterators that the block takes from yield the same elements again.
    What the block opened and kept in such a place is let go.

    Args:
        roots: of any kind. What other threads use meanwhile does not belong here.

    Raises:
        CannotPutBackError: a stream is among them that cannot be rewound.

    Example:
        >>> from types import SimpleNamespace
        >>> from foldmon.folding.undisturbed.put_back import put_back
        >>> held = SimpleNamespace(rows=(row for row in "abc"), count=0)
        >>> with put_back(held):
        ...     held.count, first = 1, next(held.rows)
        >>> held.count, first, "".join(held.rows)
        (0, 'a', 'abc')
    """
    walk = _Walk()
    try:
        walk.over(roots)
        yield
    finally:
        for step in (*reversed(walk.undo), *walk.again):
            with suppress(Exception):  # the others still count
                step()


class _Walk:
    """Looks through what objects hold, breadth first, and notes how to undo changes of it.

    Attributes:
        undo: to run in reverse order.
        again: to run then: puts iterators in place that begin anew.
    """

    def __init__(self) -> None:
        self.undo: list[Undo] = []
        self.again: list[Undo] = []
        self._seen: dict[int, Any] = {}  # holds the objects, so that no other takes over the number of one
        self._queue: deque[Any] = deque()
        self._bytes = 0

    def over(self, roots: Iterable[Any]) -> None:
        self._queue.extend(roots)
        while self._queue and len(self._seen) < _OBJECTS:
            thing = self._queue.popleft()
            if id(thing) not in self._seen and not isinstance(thing, _ATOMS) and not _is_left_alone(thing):
                self._seen[id(thing)] = thing
                self._keep(thing)

    def _keep(self, thing: Any) -> None:
        if isinstance(thing, GENERATORS) and (state := keep_generator(thing)) is not None:
            self.undo.append(state)
        elif isinstance(thing, Tensor | np.ndarray):
            self._keep_array(thing)
        elif isinstance(thing, io.IOBase):
            self._keep_file(thing)
        elif isinstance(thing, type):
            self._keep_class(thing)
        elif isinstance(thing, FunctionType):
            self._keep_function(thing)
        elif isinstance(thing, MethodType):
            self._queue += [thing.__self__, thing.__func__]
        elif isinstance(thing, CellType):
            self._keep_cell(thing)
        else:
            self._keep_container(thing)
            self._keep_object(thing)
            if (memory := keep_memory(thing)) is not None:
                self.undo.append(memory)

    def _keep_array(self, thing: Any) -> None:
        size = thing.nbytes if isinstance(thing, np.ndarray) else thing.numel() * thing.element_size()
        if size > _ARRAY_BYTES or self._bytes + size > _ALL_BYTES:
            return
        self._bytes += size
        if isinstance(thing, np.ndarray):
            if thing.dtype == object:
                self._queue += thing.reshape(-1)[:_ELEMENTS].tolist()
            elif thing.flags.writeable:
                self.undo.append(functools.partial(undo_array, thing, thing.copy()))
        elif thing.layout == torch.strided and thing.device.type == "cpu" and not thing.is_inference():
            self.undo.append(functools.partial(undo_tensor, thing, thing.detach().clone()))

    def _keep_file(self, thing: io.IOBase) -> None:
        if not thing.closed and thing.readable() and not thing.seekable():
            raise CannotPutBackError(f"{thing!r} would be used up, since it cannot be rewound")
        if (restore := keep_file(thing)) is not None:
            self.undo.append(restore)

    def _keep_class(self, kind: type) -> None:
        module = sys.modules.get(kind.__module__)
        if _is_installed(getattr(module, "__file__", None) or "") or kind.__module__ == "builtins":
            return
        own = {name: value for name, value in vars(kind).items() if not name.startswith("__")}
        self._queue.extend((*own.values(), *kind.__bases__))
        self._queue.extend(value for value in vars(kind).values() if isinstance(value, FunctionType))
        self.undo.append(functools.partial(undo_class, kind, own))

    def _keep_function(self, function: FunctionType) -> None:
        self._queue.extend((*(function.__closure__ or ()), *(function.__defaults__ or ())))
        self._queue.extend((function.__kwdefaults__ or {}).values())
        self._queue.append(vars(function))
        if _is_installed(function.__code__.co_filename):
            return
        variables = function.__globals__
        for name in _names(function.__code__) & variables.keys():
            if not isinstance(variables[name], ModuleType):
                self.undo.append(functools.partial(variables.__setitem__, name, variables[name]))
                self._look_into(variables, name)

    def _keep_cell(self, cell: CellType) -> None:
        try:
            value = cell.cell_contents
        except ValueError:
            return  # empty

        def write(value: Any) -> None:
            cell.cell_contents = value

        self.undo.append(functools.partial(write, value))
        self._look_at(value, write)

    def _keep_container(self, thing: Any) -> None:
        if not isinstance(thing, list | dict | set | deque | tuple) or size_of(thing) > _LONGEST:
            return
        if isinstance(thing, dict):
            self._keep_dict(thing)
            return
        if isinstance(thing, list):
            self.undo.append(keep_list(thing))
        elif not isinstance(thing, tuple):
            self.undo.append(keep_filled(thing))
        first = items_of(thing)[:_ELEMENTS]
        for place, value in enumerate(first):
            if isinstance(thing, list):
                self._look_into(thing, place)
            else:
                self._queue.append(value)

    def _keep_dict(self, thing: dict[Any, Any]) -> None:
        self.undo.append(keep_dict(thing))
        for name in list(itertools.islice(dict.keys(thing), _ELEMENTS)):
            self._look_into(thing, name)

    def _keep_object(self, thing: Any) -> None:
        kind = type(thing)
        self._queue.append(kind)
        attributes = getattr(thing, "__dict__", None)
        if isinstance(attributes, dict):
            self._keep_dict(attributes)
        for base in kind.__mro__:
            slots = vars(base).get("__slots__", ())
            for name in (slots,) if isinstance(slots, str) else slots:
                if not name.startswith("__") and hasattr(thing, name):
                    write = functools.partial(setattr, thing, name)
                    self.undo.append(functools.partial(write, getattr(thing, name)))
                    self._look_at(getattr(thing, name), write)
        if isinstance(thing, functools.partial):
            self._queue.extend((thing.func, *thing.args, *thing.keywords.values()))

    def _look_into(self, holder: Any, name: Any) -> None:
        base: Any = dict if isinstance(holder, dict) else list
        self._look_at(base.__getitem__(holder, name), functools.partial(base.__setitem__, holder, name))

    def _look_at(self, value: Any, write: Callable[[Any], None]) -> None:
        """What a place holds; an iterator there is exchanged for one that remembers what it yielded."""
        if not isinstance(value, _ONE_PASS):
            self._queue.append(value)
            return
        iterator: Any = value
        remembering = self._seen.setdefault(id(iterator), Remembering(iterator))
        write(remembering)
        self.again.append(lambda: write(remembering.anew()))


def _is_left_alone(thing: Any) -> bool:
    module = (thing if isinstance(thing, type | FunctionType) else type(thing)).__module__ or ""
    running = module == "torch.utils.data.dataloader" and hasattr(thing, "__next__")
    return running or module.partition(".")[0] in _LEFT_ALONE


def _is_installed(path: str) -> bool:
    return path.startswith((*_INSTALLED, "<frozen"))


def _names(code: CodeType) -> set[str]:
    """What a function's code, and the functions inside it, may look up by name."""
    inner = (constant for constant in code.co_consts if isinstance(constant, CodeType))
    return set(code.co_names).union(*map(_names, inner))
