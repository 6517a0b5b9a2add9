"""Everything that a model reaches, put back as it was after the model ran."""

from __future__ import annotations

import copy
import functools
import io
import sys
import types
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from foldmon.folding.undisturbed.containers import items_of, size_of
from foldmon.folding.undisturbed.reach import (
    LONG,
    Far,
    GlobalName,
    data_of,
    is_queue,
    runs_dry,
    slots_of,
    walk,
)
from foldmon.folding.undisturbed.restores import (
    GENERATORS,
    Restore,
    keep_dict,
    keep_file,
    keep_filled,
    keep_generator,
    keep_list,
    keep_memory,
    same,
)
from foldmon.folding.undisturbed.stand_in import StandIn
from foldmon.folding.undisturbed.tensors import KeptTensors
from foldmon.torch_internals import global_hooks


class Kept:
    """What a model and its surroundings were at one time.

    Saved are, of all that :func:`foldmon.folding.undisturbed.reach.walk` finds: attributes, containers,
    variables of closures, of modules and of classes, random generators, positions of files, and tensors as
    :class:`foldmon.folding.undisturbed.tensors.KeptTensors` does. Not objects that other threads work on.

    Args:
        model: the root.
        others: further roots, such as a function that calls the model.
        tensors: knows from earlier times what is written to.
        far: how far to look, as ``walk`` has it.

    Attributes:
        modules: all that are reached, whether registered or not.
        tensors: what became of the tensors.
    """

    def __init__(
        self, model: nn.Module, *others: Any, tensors: KeptTensors | None = None, far: Far = "code"
    ) -> None:
        reached = walk([model, *others, *global_hooks()], far)
        things = list(reached.values())
        self.modules = [thing for thing in things if isinstance(thing, nn.Module)]
        self.tensors = tensors or KeptTensors()
        self.tensors.keep(things, model)
        self._things = things
        self._restores: list[tuple[str, Restore]] = []
        for thing in things:
            restore = _keeper_of(thing)
            if restore is not None:
                self._restores.append((type(thing).__name__, restore))

    def at_rest(self, registered: set[int]) -> None:
        """Put the modules that are registered nowhere into eval mode, and stand-ins before what runs dry."""
        for module in self.modules:
            if id(module) not in registered and not isinstance(module, torch.jit.ScriptModule):
                vars(module)["training"] = False
        for thing in self._things:
            _protect(thing)

    def put_back(self) -> list[str]:
        """Make everything as it was.

        Returns:
            The kinds of things that had changed, once each.

        Raises:
            CannotPutBackError: a tensor was written to whose values are lost.
        """
        changed = dict.fromkeys(name for name, restore in self._restores if restore())
        changed |= dict.fromkeys(self.tensors.put_back())
        return list(changed)


@contextmanager
def kept(
    model: nn.Module, *others: Any, tensors: KeptTensors | None = None, far: Far = "code"
) -> Iterator[Kept]:
    """Leave a model, and all that it reaches, as it was at the beginning of the block, whatever it does.

    Within the block every module that the model reaches runs in eval mode, where it is asked to: registered
    ones as :func:`foldmon.folding.undisturbed.flags.eager_eval` says, others at once.

    Args:
        model: as of :class:`Kept`.
        others: likewise.
        tensors: likewise.
        far: likewise.

    Raises:
        CannotPutBackError: at the end, where a tensor was written to whose values are lost.

    Example:
        >>> import torch
        >>> from foldmon.folding.undisturbed.kept import kept
        >>> model = torch.nn.Linear(2, 2)
        >>> model.seen = []
        >>> with kept(model):
        ...     model.seen.append(1)
        ...     model.extra = 2
        >>> model.seen, hasattr(model, "extra")
        ([], False)
    """
    saved = Kept(model, *others, tensors=tensors, far=far)
    try:
        saved.at_rest({id(module) for module in model.modules()})
        yield saved
    finally:
        try:
            saved.put_back()
        finally:
            saved.tensors.release()


def _protect(thing: Any) -> None:
    """In the place of what cannot be put back, where it is held, put something else.

    Of an iterator a copy, or a stand-in that says what it is; so of a queue; of a log a file in memory.
    """
    held: list[tuple[Callable[[Any], object], Any]]
    if isinstance(thing, dict) and size_of(thing) <= LONG:
        held = [(functools.partial(dict.__setitem__, thing, key), value) for key, value in dict.items(thing)]
    elif isinstance(thing, list) and size_of(thing) <= LONG:
        places = enumerate(items_of(thing))
        held = [(functools.partial(list.__setitem__, thing, place), value) for place, value in places]
    elif isinstance(thing, type):
        held = [(functools.partial(setattr, thing, name), value) for name, value in data_of(thing).items()]
    elif isinstance(thing, GlobalName | types.CellType):
        variable = _variable_of(thing)
        held = [(variable.write, variable.read())]
    else:
        return
    for put, value in held:
        if runs_dry(value):
            put(_as_fresh(value))
        elif is_queue(value):
            put(StandIn(f"a {type(value).__name__}, which other threads may be at work on"))
        elif isinstance(value, io.IOBase) and _only_takes(value):
            put(io.StringIO() if isinstance(value, io.TextIOBase) else io.BytesIO())


def _only_takes(file: io.IOBase) -> bool:
    """Whether a file, not the terminal, is written and never read: a log."""
    shown = sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__
    try:
        return not any(file is one for one in shown) and file.writable() and not file.readable()
    except Exception:
        return False  # closed


def _as_fresh(iterator: Any) -> Any:
    # The copy of one that runs through other iterators would share them.
    if type(iterator).__name__ not in _OVER_A_SEQUENCE:
        return StandIn(f"a {type(iterator).__name__}, which cannot be wound back")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return copy.copy(iterator)


_OVER_A_SEQUENCE = ("list_iterator", "tuple_iterator", "range_iterator", "longrange_iterator", "count")


def _keeper_of(thing: Any) -> Restore | None:
    """How a thing is put back; None for what has no state of its own."""
    if isinstance(thing, dict):
        return _keep_dict(thing)
    for kinds, keep in _KEEPERS:
        if isinstance(thing, kinds):
            return keep(thing)
    names = (
        slots_of(type(thing)) if not hasattr(thing, "__dict__") or hasattr(type(thing), "__slots__") else []
    )
    return _keep_slots(thing, names) if names else keep_memory(thing)


def _keep_dict(mapping: dict[Any, Any]) -> Restore:
    return keep_dict(mapping) if size_of(mapping) <= LONG else _keep_length(mapping, mapping.popitem)


def _keep_length(container: Any, drop: Callable[[], object]) -> Restore:
    length = size_of(container)

    def restore() -> bool:
        longer = size_of(container) > length
        while size_of(container) > length:
            drop()
        return longer

    return restore


def _keep_list(items: list[Any]) -> Restore:
    return keep_list(items) if size_of(items) <= LONG else _keep_length(items, items.pop)


def _keep_filled(container: Any) -> Restore | None:
    return keep_filled(container) if size_of(container) <= LONG else None


_UNSET = object()


@dataclass(frozen=True)
class _Variable:
    """A place with a name: how it is read (``_UNSET`` where it is empty), written and emptied."""

    read: Callable[[], Any]
    write: Callable[[Any], object]
    delete: Callable[[], object]

    def keep(self) -> Restore:
        then = self.read()

        def restore() -> bool:
            if self.read() is then:
                return False
            self.delete() if then is _UNSET else self.write(then)
            return True

        return restore


def _variable_of(place: types.CellType | GlobalName) -> _Variable:
    if isinstance(place, types.CellType):
        return _Variable(
            lambda: _content_of(place),
            lambda value: setattr(place, "cell_contents", value),
            lambda: delattr(place, "cell_contents"),
        )
    names, name = place.namespace, place.name
    return _Variable(
        lambda: names.get(name, _UNSET), lambda value: names.__setitem__(name, value), lambda: names.pop(name)
    )


def _content_of(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return _UNSET


def _keep_slots(thing: Any, names: list[str]) -> Restore:
    def slot(name: str) -> _Variable:
        return _Variable(
            lambda: getattr(thing, name, _UNSET),
            lambda value: object.__setattr__(thing, name, value),
            lambda: object.__delattr__(thing, name),
        )

    restores = [slot(name).keep() for name in names]
    return lambda: sum(restore() for restore in restores) > 0


def _keep_class(kind: type) -> Restore | None:
    then = data_of(kind)
    own = vars(kind)

    def restore() -> bool:
        now = data_of(kind)
        if same(now.values(), then.values()) and now.keys() == then.keys():
            return False
        for name in now.keys() - then.keys():
            delattr(kind, name)
        for name, value in then.items():
            if own.get(name, _UNSET) is not value:
                setattr(kind, name, value)
        return True

    return restore


_KEEPERS: tuple[tuple[Any, Callable[[Any], Restore | None]], ...] = (
    (list, _keep_list),
    (set | deque | bytearray, _keep_filled),
    (types.CellType | GlobalName, lambda place: _variable_of(place).keep()),
    (type, _keep_class),
    (GENERATORS, keep_generator),
    (io.IOBase, keep_file),
    (Tensor | nn.Module | tuple | frozenset | types.FunctionType | np.ndarray, lambda _: None),
)
