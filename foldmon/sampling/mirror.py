"""A model and its copy, part by part: what must follow, and what has changed."""

from __future__ import annotations

import copy
import functools
import operator
import random
import types
import weakref
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from foldmon.folding.undisturbed.containers import items_of, size_of
from foldmon.folding.undisturbed.reach import ATOMS, LONG, left_alone, runs_dry, slots_of, walk
from foldmon.folding.undisturbed.stand_in import StandIn
from foldmon.folding.undisturbed.tensors import LARGE, address, is_its_memory
from foldmon.sampling.links import Change, ContainerLink, Glance, ModuleLink, OtherStructureError, state_of
from foldmon.torch_internals import copy_all, forward_hooks_of, unseen, version_of

_MOST = 200_000  # pairs
_STATEFUL: Any = np.ndarray | torch.Generator | np.random.Generator | np.random.RandomState | random.Random
_FUNCTIONS: Any = types.FunctionType | types.MethodType | functools.partial

Copy = Callable[[Any, dict[int, Any]], Any]
"""A deep copy of a value, given counterparts by ``id``."""


class CannotCopyError(RuntimeError):
    """The model cannot be copied, so it can only be measured in place; the text says why."""


class Mirror:
    """Pairs all parts of a model with those of its copy, and lets the copy's follow.

    The copy is in eval mode and wants no gradients. Nothing of it is the model's, but for functions that
    reach no part of it, and tensors that are no weights, which :attr:`watched` holds.

    Args:
        model: the root; held weakly, as are its modules.
        copied: its deep copy.

    Attributes:
        modules: of the copy, whether registered or not.
        watched: tensors that both share, and their version counters.

    Raises:
        CannotCopyError: parts do not correspond, or are shared that must not be.
    """

    def __init__(self, model: nn.Module, copied: nn.Module) -> None:
        self._roots = weakref.ref(model), copied
        self._varying: set[tuple[int, Any]] = set()
        self.watched: list[tuple[Tensor, int | None]] = []
        self._pair()

    def _pair(self) -> None:
        """Go through both anew."""
        self._known: dict[int, Any] = {}
        self._alive: list[Any] = []  # what these numbers stand for; no module, so that the model can go
        self.modules: list[nn.Module] = []
        self._tensors: list[tuple[Tensor, Tensor]] = []
        self._large: list[tuple[Tensor, Tensor, list[int | None]]] = []
        # Tensors of the copy that hold more than values, and their memory.
        self._packed: list[tuple[Tensor, Tensor]] = []
        self._states: list[tuple[Any, Any]] = []
        self._module_links: list[ModuleLink] = []
        self._links: list[ContainerLink] = []
        self._every_link: list[ModuleLink | ContainerLink] = []
        shared: list[Any] = []
        waiting: deque[tuple[Any, Any]] = deque([self._roots_now()])
        while waiting:
            one, other = waiting.popleft()
            if type(one) in ATOMS or (id(one) in self._known and self._known[id(one)] is other):
                continue
            if id(one) in self._known:
                raise CannotCopyError(f"its copy has several parts in the place of one {type(one).__name__}")
            if len(self._known) > _MOST:
                raise CannotCopyError("it holds more than foldmon can follow")
            if not isinstance(one, _FUNCTIONS):
                self._known[id(one)] = other
                if not isinstance(one, nn.Module):
                    self._alive.append(one)
            if one is other:
                shared.append(one)
            else:
                waiting.extend(self._parts(one, other, shared))
        self._refuse_shared(shared)
        self._settle()

    def _roots_now(self) -> tuple[Any, Any]:
        model = self._roots[0]()
        if model is None:
            raise OtherStructureError
        return model, self._roots[1]

    def _parts(self, one: Any, other: Any, shared: list[Any]) -> Iterable[tuple[Any, Any]]:
        """The pairs that a pair leads to."""
        if isinstance(one, nn.Module):
            return self._parts_of_module(one, other)
        if isinstance(one, Tensor):
            return self._note_tensor(one, other, shared)
        if type(one) is not type(other) or isinstance(one, type) or left_alone(type(one)):
            return ()
        if isinstance(one, types.MethodType):
            return ((one.__self__, other.__self__),)
        if isinstance(one, functools.partial):
            return ((one.func, other.func), (one.args, other.args), (one.keywords, other.keywords))
        if isinstance(one, np.ndarray) and one.dtype.hasobject and not _of_atoms(one):
            raise CannotCopyError("it holds an array of objects, whose copies cannot be told apart")
        if isinstance(one, _STATEFUL):
            self._states.append((one, other))
            return ()
        return self._parts_of_object(one, other)

    def _parts_of_module(self, one: nn.Module, other: Any) -> Iterable[tuple[Any, Any]]:
        if not isinstance(other, nn.Module):
            raise CannotCopyError(f"the copy of its {type(one).__name__} is no module")
        self.modules.append(other)
        if isinstance(one, torch.jit.ScriptModule):
            mine, its = ([*module.parameters(), *module.buffers()] for module in (one, other))
            self._tensors += zip(mine, its, strict=True)
            return ()
        own, theirs = vars(one), vars(other)
        for name, value in own.items():
            # Lightning's modules leave their trainer behind: whether they need it shows when they run.
            if theirs.get(name, value) is None and value is not None and left_alone(type(value)):
                theirs[name] = _absent(value)
        self._module_links.append(ModuleLink(one, other))
        pairs = [(own[name], theirs[name]) for name in self._module_links[-1].every_name if name in theirs]
        for parts, copies in zip(state_of(one), state_of(other), strict=True):
            if parts.keys() != copies.keys():
                raise CannotCopyError(f"the copy of its {type(one).__name__} has other parts than itself")
            pairs += [(parts[name], copies[name]) for name in parts]
        for hooks, own_hooks in zip(forward_hooks_of(one), forward_hooks_of(other), strict=True):
            pairs += [(hooks[number], own_hooks[number]) for number in hooks if number in own_hooks]
        return pairs

    def _parts_of_object(self, one: Any, other: Any) -> Iterable[tuple[Any, Any]]:
        pairs: list[tuple[Any, Any]] = []
        if isinstance(one, dict | list | deque | tuple | set | frozenset):
            if size_of(one) != size_of(other):
                raise CannotCopyError(f"the copy of a {type(one).__name__} that it holds has another length")
            if not isinstance(one, tuple | frozenset):
                if size_of(one) > LONG:
                    raise CannotCopyError(f"it holds a {type(one).__name__} of {size_of(one):,} items")
                self._links.append(ContainerLink(one, other))
            if isinstance(one, set | frozenset):
                if any(type(item) not in ATOMS for item in items_of(one)):
                    raise CannotCopyError("it holds a set of objects, whose copies cannot be told apart")
            elif isinstance(one, dict) and dict.keys(one) == dict.keys(other):
                pairs += [(value, dict.__getitem__(other, name)) for name, value in dict.items(one)]
            else:
                pairs += zip(items_of(one), items_of(other), strict=True)
        attributes = getattr(one, "__dict__", None)
        if isinstance(attributes, dict) and attributes:
            self._links.append(ContainerLink(attributes, vars(other)))
            pairs += [(value, vars(other).get(name)) for name, value in attributes.items()]
        pairs += [(getattr(one, name, None), getattr(other, name, None)) for name in slots_of(type(one))]
        return pairs

    def _note_tensor(self, one: Tensor, other: Any, shared: list[Any]) -> Iterable[tuple[Any, Any]]:
        if not isinstance(other, Tensor) or one.shape != other.shape:
            raise CannotCopyError("the copy of a tensor that it holds is another one")
        if address(one) and address(one) == address(other):
            shared.append(one)
        elif isinstance(one, nn.Parameter) or one.numel() * one.element_size() <= LARGE:
            self._tensors.append((one, other))
        else:
            self._large.append((one, other, [version_of(one), version_of(other)]))
        return self._parts_of_tensor(one, other) if is_its_memory(one) else ()

    def _parts_of_tensor(self, one: Tensor, other: Tensor) -> Iterable[tuple[Any, Any]]:
        """What a tensor holds beside its values, such as the scales of a quantized weight."""
        own, theirs = vars(one), vars(other)
        if all(type(value) in ATOMS for value in own.values()):
            return ()
        for name, value in own.items():
            if theirs.get(name) is value and id(value) in self._known:
                theirs[name] = self._known[id(value)]  # its class copies what holds it by reference
        self._links.append(ContainerLink(own, theirs))
        with unseen():
            self._packed.append((other, other.detach()))
        return [(value, theirs.get(name)) for name, value in own.items()]

    def _refuse_shared(self, shared: list[Any]) -> None:
        live = {address(one) for one, _ in self._tensors}
        self.watched = []
        for thing in walk([x for x in shared if not isinstance(x, type)]).values():
            what = None
            if isinstance(thing, nn.Module):
                what = f"a {type(thing).__name__} itself, not a copy of it"
            elif isinstance(thing, Tensor):
                what = "a weight itself, not a copy of it"
                if not thing.requires_grad and address(thing) not in live:
                    self.watched.append((thing, version_of(thing)))
                    continue
            elif runs_dry(type(thing)):
                what = f"a {type(thing).__name__}, which gives what it has only once"
            if what is not None:
                raise CannotCopyError(f"{_named(shared)} reaches {what}")

    def _settle(self) -> None:
        """Nothing of the copy is the model's: its flags can be set."""
        for module in self.modules:
            if not isinstance(module, torch.jit.ScriptModule):
                vars(module)["training"] = False
        for _, other in self._tensors:
            if other.requires_grad and other.is_leaf:
                other.requires_grad_(False)
        for link in self._module_links:
            link.renew()
        self._look_out()
        self._sources, self._targets = [a for a, _ in self._tensors], [b for _, b in self._tensors]
        self._kinds = _kinds(self._sources)

    def _look_out(self) -> None:
        """Remember how everything is now."""
        self._glance = Glance(self._module_links)
        self._every_link = [*self._module_links, *self._links]
        self._asked: list[ModuleLink | ContainerLink] = [*self._glance.others, *self._links]

    def follow(self, copied: Copy) -> bool:
        """Bring the copy up to date.

        Returns:
            Whether something changed that never had before: what the copy computes is to be compared anew.

        Raises:
            OtherStructureError: the model is another one than was copied; make a new copy.
            CannotCopyError: there can be none any more.
        """
        news = False
        asked = self._asked if self._glance.is_same() else self._every_link
        moved = [link for link in asked if not link.is_same()]
        if moved:
            changes = [change for link in moved for change in link.changes()]
            news = any(change.key not in self._varying for change in changes)
            self._varying |= {change.key for change in changes}
            self._take_over(changes, moved, copied)
        if _kinds(self._sources) != self._kinds:
            raise OtherStructureError
        self._copy_values()
        if any(version_of(tensor) != version for tensor, version in self.watched):
            raise CannotCopyError("a tensor that it shares with its copy is written to")
        return news

    def _take_over(
        self, changes: list[Change], moved: list[ModuleLink | ContainerLink], copied: Copy
    ) -> None:
        """Put into the copy what is new in the model."""
        memo = dict(self._known)  # one for all: what is new in several places stays one thing
        for change in changes:
            change.put(self._counterpart(change.value, memo, copied))
        for link in moved:
            link.trim()
        if any(type(part) not in ATOMS for change in changes for part in (change.before, change.value)):
            self._pair()
        else:
            for link in moved:
                link.renew()
            self._look_out()

    def _counterpart(self, value: Any, memo: dict[int, Any], copied: Copy) -> Any:
        """What the copy holds in the place of a value that is new in the model."""
        if type(value) in ATOMS:
            return value
        if id(value) in memo:
            return memo[id(value)]
        if isinstance(value, _FUNCTIONS | nn.Module | nn.Parameter) or runs_dry(type(value)):
            raise OtherStructureError
        return _absent(value) if left_alone(type(value)) else copied(value, memo)

    def _copy_values(self) -> None:
        with torch.no_grad():
            if self._sources:
                try:
                    copy_all(self._targets, self._sources)
                except RuntimeError as error:
                    # A buffer that overlaps itself (an expanded view) can be read but not written.
                    raise OtherStructureError from error
            for one, other, versions in self._large:
                if [version_of(one), version_of(other)] != versions:
                    other.copy_(one)
                    versions[:] = version_of(one), version_of(other)
        for one, other in self._states:
            _copy_state(one, other)

    def put_back(self) -> None:
        """Let the copy hold what it held before it ran; tensors' values come with the next :meth:`follow`."""
        for link in self._every_link:
            link.put_back()
        with torch.no_grad(), unseen():
            for tensor, memory in self._packed:
                if tensor.shape != memory.shape or tensor.data_ptr() != memory.data_ptr():
                    tensor.data = memory  # laid out anew by a pass


def _absent(value: Any) -> StandIn:
    return StandIn(f"its {type(value).__name__}, which a copy does not have")


def _kinds(tensors: list[Tensor]) -> list[Any]:
    return list(map(_kind, tensors))


_kind = operator.attrgetter("shape", "dtype", "device")


def _copy_state(one: Any, other: Any) -> None:
    if isinstance(one, np.ndarray):
        if other.flags.writeable:  # else it is the same memory
            np.copyto(other, copy.deepcopy(one) if one.dtype.hasobject else one)
    elif isinstance(one, np.random.Generator):
        other.bit_generator.state = one.bit_generator.state
    elif isinstance(one, random.Random):
        other.setstate(one.getstate())
    else:
        other.set_state(one.get_state())


def _of_atoms(array: Any) -> bool:
    return array.dtype == object and array.size <= LONG and all(type(item) in ATOMS for item in array.flat)


def _named(shared: Iterable[Any]) -> str:
    named = [
        getattr(thing, "__qualname__", None) for thing in shared if isinstance(thing, types.FunctionType)
    ]
    return f"a function that it holds ({named[0]})" if named else "something that it shares with its copy"
