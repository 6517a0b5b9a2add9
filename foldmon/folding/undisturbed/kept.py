"""Everything that a model reaches, put back as it was after the model ran."""

from __future__ import annotations

import io
import types
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from foldmon.folding.undisturbed.containers import size_of
from foldmon.folding.undisturbed.reach import LONG, Far, GlobalName, data_of, slots_of, walk
from foldmon.folding.undisturbed.restores import (
    GENERATORS,
    UNSET,
    Restore,
    Variable,
    keep_dict,
    keep_file,
    keep_filled,
    keep_generator,
    keep_list,
    keep_memory,
    same,
    variable_of,
)
from foldmon.folding.undisturbed.substitutes import protect
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
            protect(thing)

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


def _keep_slots(thing: Any, names: list[str]) -> Restore:
    def slot(name: str) -> Variable:
        return Variable(
            lambda: getattr(thing, name, UNSET),
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
            if own.get(name, UNSET) is not value:
                setattr(kind, name, value)
        return True

    return restore


_KEEPERS: tuple[tuple[Any, Callable[[Any], Restore | None]], ...] = (
    (list, _keep_list),
    (set | deque | bytearray, _keep_filled),
    (types.CellType | GlobalName, lambda place: variable_of(place).keep()),
    (type, _keep_class),
    (GENERATORS, keep_generator),
    (io.IOBase, keep_file),
    (Tensor | nn.Module | tuple | frozenset | types.FunctionType | np.ndarray, lambda _: None),
)
