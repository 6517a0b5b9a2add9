"""What holds parts in a model, linked to what holds their copies: whether it changed is seen at a glance."""

from __future__ import annotations

import functools
import types
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from torch import nn

from foldmon.folding.undisturbed.containers import items_of
from foldmon.folding.undisturbed.reach import ATOMS
from foldmon.folding.undisturbed.restores import same
from foldmon.torch_internals import OF_EVERY_MODULE, forward_hooks_of, submodules_of, tensors_of


class OtherStructureError(RuntimeError):
    """The model has become another one than was copied."""


@dataclass(frozen=True)
class Change:
    """Something new in the model.

    Attributes:
        key: of the place, the same at every change.
        before, value: what was there and what is.
        put: puts the counterpart of ``value`` into the copy.
    """

    key: tuple[int, Any]
    before: Any
    value: Any
    put: Callable[[Any], object]


class ModuleLink:
    """The attributes, parts and hooks of a module, held weakly, and those of its copy.

    Attributes:
        every_name: of the attributes that are not torch's own.
        is_plain: whether neither hooks nor functions are among them.
    """

    def __init__(self, one: nn.Module, other: nn.Module) -> None:
        self._one, self._other = weakref.ref(one), other
        self.renew()

    def renew(self) -> None:
        """Remember both as they are now."""
        one = self.module()
        if one is None:
            return
        own = vars(one)
        self.every_name = tuple(name for name in own if name not in OF_EVERY_MODULE)
        held = {name: own[name] for name in self.every_name}
        # Functions may hold the model, which must be free to go.
        self._functions = {n: weakref.ref(v) for n, v in held.items() if isinstance(v, _FUNCTIONS)}
        self._names = tuple(name for name in held if name not in self._functions)
        self._values = tuple(held[name] for name in self._names)
        self._size = len(own)
        children, parameters, buffers = state_of(one)
        self._children = tuple(weakref.ref(m) if m is not None else _none for m in children.values())
        self._parameters, self._buffers = tuple(parameters.values()), tuple(buffers.values())
        before, after = forward_hooks_of(one)
        self._hooks = (*before, *after)
        self.is_plain = not self._hooks and not self._functions
        self._theirs = dict(vars(self._other))
        self._their_state = [dict(part) for part in state_of(self._other)]

    def module(self) -> nn.Module | None:
        """The model's, None where it is gone: a wrapper may go before what it wrapped."""
        return self._one()

    def is_same(self) -> bool:
        """Whether nothing was exchanged, added or removed in the model."""
        one = self.module()
        if one is None:
            return True
        own = one.__dict__
        before, after = forward_hooks_of(one)
        return (
            len(own) == self._size
            and same([own.get(name) for name in self._names], self._values)
            and same(state_of(one)[2].values(), self._buffers)
            and self._has_same_parts(one)
            and ((not before and not after and not self._hooks) or (*before, *after) == self._hooks)
            and (not self._functions or all(own.get(n) is ref() for n, ref in self._functions.items()))
        )

    def _has_same_parts(self, one: nn.Module) -> bool:
        children, parameters, _ = state_of(one)
        return same(parameters.values(), self._parameters) and (
            len(children) == len(self._children)
            and (not children or same(children.values(), [child() for child in self._children]))
        )

    def changes(self) -> Iterator[Change]:
        """What was exchanged.

        Raises:
            OtherStructureError: there are other submodules, weights, hooks, functions or attributes.
        """
        one = self.module()
        if one is None:
            return
        own, its = vars(one), vars(self._other)
        before, after = forward_hooks_of(one)
        buffers, their_buffers = state_of(one)[2], state_of(self._other)[2]
        if (
            tuple(name for name in own if name not in OF_EVERY_MODULE) != self.every_name
            or (*before, *after) != self._hooks
            or any(own[name] is not function() for name, function in self._functions.items())
            or not self._has_same_parts(one)
            or buffers.keys() != their_buffers.keys()
        ):
            raise OtherStructureError
        for name, then in zip(self._names, self._values, strict=True):
            if own[name] is not then:
                yield Change((id(its), name), then, own[name], functools.partial(its.__setitem__, name))
        for (name, buffer), then in zip(buffers.items(), self._buffers, strict=True):
            if buffer is not then:
                put = functools.partial(their_buffers.__setitem__, name)
                yield Change((id(its), name), then, buffer, put)

    def trim(self) -> None:
        """Nothing: what is removed makes another structure."""

    def put_back(self) -> None:
        """Let the copy's module hold what it held."""
        parts = zip(
            (vars(self._other), *state_of(self._other)), (self._theirs, *self._their_state), strict=True
        )
        for now, then in parts:
            if not same(now.values(), then.values()):
                now.clear()
                now.update(then)


class ContainerLink:
    """A list, dict, set or deque (the attributes of a plain object too), and that of the copy."""

    def __init__(self, one: Any, other: Any) -> None:
        self._one, self._other = one, other
        self.renew()

    def renew(self) -> None:
        """Remember both as they are now."""
        self._then, self._theirs = _flat(self._one), _flat(self._other)

    def is_same(self) -> bool:
        """Whether the model's holds what it held."""
        return same(_flat(self._one), self._then)

    def changes(self) -> Iterator[Change]:
        """What is new, in order."""
        one, other, key = self._one, self._other, id(self._other)
        if isinstance(one, dict):
            then = dict(zip(self._then[::2], self._then[1::2], strict=True))
            for name, value in one.items():
                if name not in other or value is not then.get(name, other):
                    if type(name) not in ATOMS:
                        raise OtherStructureError
                    put = functools.partial(other.__setitem__, name)
                    yield Change((key, name), then.get(name), value, put)
        elif isinstance(one, list):
            for place, value in enumerate(one):
                before = self._then[place] if place < len(self._then) else None
                if value is not before or place >= len(other):
                    yield Change((key, None), before, value, functools.partial(_set_item, other, place))
        else:
            other.clear()
            for value in one:
                yield Change((key, None), None, value, other.add if isinstance(other, set) else other.append)

    def trim(self) -> None:
        """Drop from the copy's what the model's no longer holds."""
        if isinstance(self._one, dict):
            for name in [name for name in self._other if name not in self._one]:
                del self._other[name]
        elif isinstance(self._one, list):
            del self._other[len(self._one) :]

    def put_back(self) -> None:
        """Let the copy's hold what it held."""
        other, theirs = self._other, self._theirs
        if same(_flat(other), theirs):
            return
        other.clear()
        if isinstance(other, dict):
            other.update(zip(theirs[::2], theirs[1::2], strict=True))
        else:
            (other.update if isinstance(other, set) else other.extend)(theirs)


def state_of(module: nn.Module) -> tuple[dict[str, Any], ...]:
    """The dicts of the module's own submodules, parameters and buffers, themselves."""
    return submodules_of(module), *tensors_of(module)


_FUNCTIONS = types.FunctionType | types.MethodType


def _none() -> None:
    return None


def _flat(container: Any) -> list[Any]:
    """What a container holds; of a dict keys and values in turn."""
    if isinstance(container, dict):
        return [x for pair in dict.items(container) for x in pair]
    return items_of(container)


def _set_item(items: list[Any], place: int, value: Any) -> None:
    if place < len(items):
        items[place] = value
    else:
        items.append(value)


class Glance:
    """Whether any of many modules changed, told in a few microseconds.

    Modules that are gone cannot have changed: a wrapper may go before what it wrapped.

    Args:
        links: of modules; only those without functions and hooks of their own are looked at, since what is
            held here must not hold the model.

    Attributes:
        others: the links that are not looked at.
    """

    def __init__(self, links: list[ModuleLink]) -> None:
        self.others = [link for link in links if not link.is_plain]
        found = ((link.module(), link.every_name) for link in links if link.is_plain)
        living = [(module, names) for module, names in found if module is not None]
        self._hooks = [hooks for module, _ in living for hooks in forward_hooks_of(module)]
        every = [part for module, _ in living for part in tensors_of(module)]
        self._tensors = [part for part in every if part]
        # What holds submodules is held weakly.
        self._parents = [(weakref.ref(m), names) for m, names in living if submodules_of(m)]
        leaves = [(vars(module), names) for module, names in living if not submodules_of(module)]
        self._sized = [own for own, _ in leaves] + every
        self._places = [(own, name) for own, names in leaves for name in names]
        self._ids, self._counts, self._then = self._ids_now(), self._counts_now(), self._values_now()

    def _ids_now(self) -> list[int]:
        ids = [id(value) for part in self._tensors for value in part.values()]
        for parent, names in self._parents:
            if (module := parent()) is not None:
                ids += [id(child) for child in submodules_of(module).values()]
                own = vars(module)
                ids.append(len(own))
                ids += [id(own.get(name)) for name in names]
        return ids

    def _counts_now(self) -> tuple[int, int]:
        return sum(map(len, self._hooks)), sum(map(len, self._sized))

    def _values_now(self) -> list[Any]:
        parents = [(vars(m), names) for parent, names in self._parents if (m := parent()) is not None]
        held = [own.get(name) for own, names in parents for name in names]
        self._held = held  # so that the numbers in _ids stand for these alone
        return [own[name] for own, name in self._places]

    def is_same(self) -> bool:
        """Whether nothing was exchanged, added or removed; False too when a module has gone."""
        if self._ids_now() != self._ids or self._counts_now() != self._counts:
            return False
        try:
            return same([own[name] for own, name in self._places], self._then)
        except KeyError:
            return False
