"""What Python objects a model reaches: all that its forward pass may read, write or fill."""

from __future__ import annotations

import dis
import functools
import io
import itertools
import random
import sys
import threading
import types
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from foldmon.folding.undisturbed.containers import items_of, size_of

LONG = 10_000
"""Items from which on a container is not looked into; one that has grown is cut to its length."""

_MOST = 100_000  # objects; the nearest come first
_NOTHING: tuple[Any, ...] = ()
ATOMS = frozenset(
    {
        int, float, complex, bool, str, bytes, type(None), type(Ellipsis), type(NotImplemented), range, slice,
        types.ModuleType, types.CodeType, types.WrapperDescriptorType,
        types.MethodDescriptorType, types.GetSetDescriptorType, types.MemberDescriptorType, torch.dtype,
        torch.device, torch.layout, torch.memory_format, torch.Size,
    }
)  # fmt: skip
"""Types of what never changes and leads nowhere."""

# Objects of these modules, and of classes that inherit from theirs, are not the model's function: they
# run training, feed it or talk to the world, and other threads may be at work on them.
_LEFT_ALONE = (
    "foldmon.", "torch.utils.data.", "torch.optim.", "torch.distributed.", "torch.cuda.", "torch._dynamo.",
    "torch.jit.", "torch.utils.tensorboard.", "threading.", "_thread.", "queue.", "_queue.", "logging.",
    "multiprocessing.", "torch.fx.",
    "concurrent.", "asyncio.", "subprocess.", "socket.", "tempfile.", "contextvars.", "_contextvars.",
    "lightning.", "pytorch_lightning.", "lightning_fabric.", "accelerate.", "ignite.", "wandb.", "mlflow.",
    "tensorboard.", "matplotlib.", "IPython.", "_pytest.", "pytest.",
)  # fmt: skip
_OF_THREADS = ("_thread", "threading", "queue", "_queue", "multiprocessing", "concurrent")

Far = Literal["attributes", "closures", "code"]
Parts = Callable[[Any], Iterable[Any]]


def walk(roots: Iterable[Any], far: Far = "closures") -> dict[int, Any]:
    """All that is reached from the roots and can change or lead to what can, the nearest first, by ``id``.

    Modules, tensors, arrays, containers, plain objects, functions with their closures, methods, partial
    functions, suspended generators, weak references. What lies further than 100,000 objects away is not seen.

    Args:
        roots: where to begin.
        far: "attributes" does not look into functions, "closures" does; "code" follows also what the user's
            own code reads by name: global variables, and the attributes of classes.

    Example:
        >>> import torch
        >>> model = torch.nn.Linear(2, 2)
        >>> model.kept = [torch.zeros(3)]
        >>> sum(isinstance(thing, torch.Tensor) for thing in walk([model]).values())
        3
    """
    seen: dict[int, Any] = {}
    waiting = deque(roots)
    rules = _RULES[far]
    while waiting and len(seen) < _MOST:
        thing = waiting.popleft()
        kind = type(thing)
        if kind in ATOMS or id(thing) in seen:
            continue
        seen[id(thing)] = thing
        rule = rules.get(kind)
        if rule is None:
            rule = rules[kind] = _rule_of(kind, far)
        waiting.extend(rule(thing))
    return seen


class GlobalName:
    """A variable at the top of a module that some function sets.

    Args:
        namespace: the module's variables.
        name: of this one.
    """

    def __init__(self, namespace: dict[str, Any], name: str) -> None:
        self.namespace, self.name = namespace, name


def is_leaf(tensor: Tensor) -> bool:
    """Whether a tensor has no history; False too where torch does not tell."""
    try:
        return tensor.is_leaf
    except RuntimeError:
        return False  # one of several views, of which another was written to: FSDP has such weights


def runs_dry(kind: type) -> bool:
    """Whether things of a class give what they hold only once, and keep no place in Python of how far."""
    if not hasattr(kind, "__next__") or issubclass(kind, io.IOBase):
        return False
    return left_alone(kind) or not kind.__dictoffset__


def is_queue(kind: type) -> bool:
    """Whether things of a class hand items from one thread or process to another, each once."""
    return left_alone(kind) and callable(getattr(kind, "put", None)) and callable(getattr(kind, "get", None))


def slots_of(kind: type) -> list[str]:
    """Names of the attributes that a class keeps in slots."""
    names: list[str] = []
    for cls in kind.__mro__:
        own = vars(cls).get("__slots__", ())
        names += [n for n in ((own,) if isinstance(own, str) else own) if isinstance(n, str)]
    return [name for name in names if name not in ("__dict__", "__weakref__") and not name.startswith("__")]


def data_of(kind: type) -> dict[str, Any]:
    """Attributes of a class that are neither functions nor descriptors."""
    return {
        name: value
        for name, value in vars(kind).items()
        if not name.startswith("__") and not callable(value) and not hasattr(type(value), "__get__")
    }


@functools.lru_cache(maxsize=4096)
def is_own_code(module: str | None) -> bool:
    """Whether a module, by its name, is the user's own and not the standard library's or installed."""
    if module is None or module.partition(".")[0] in _KNOWN:
        return False
    path = getattr(sys.modules.get(module), "__file__", None) or ""
    return "site-packages" not in path and "dist-packages" not in path


_KNOWN = frozenset(sys.stdlib_module_names) | {"torch", "numpy", "foldmon", "transformers"}


def left_alone(kind: type) -> bool:
    """Whether objects of a class run training or feed it, and are none of the model's function."""
    known = _left_alone.get(kind)
    if known is None:
        names = [cls.__module__ for cls in kind.__mro__ if isinstance(cls.__module__, str)]
        known = any(f"{name}.".startswith(part) for name in names for part in _LEFT_ALONE)
        known = _left_alone[kind] = known and not issubclass(kind, nn.Module | Tensor)
    return known


_left_alone: dict[type, bool] = {}


def _rule_of(kind: type, far: Far) -> Parts:
    """How the parts of an object of a class are found."""
    base = next((rule for cls, rule in _BY_CLASS if issubclass(kind, cls)), None)
    code = far == "code"
    if base is _parts_of_class:
        return _parts_of_class if code else _no_parts
    if base is _parts_of_function:
        return _no_parts if far == "attributes" else functools.partial(_parts_of_function, code=code)
    if issubclass(kind, io.IOBase) or (base is None and left_alone(kind)):
        return _no_parts
    own = code and is_own_code(kind.__module__)
    slots = slots_of(kind)

    def parts(thing: Any) -> Iterator[Any]:
        attributes = getattr(thing, "__dict__", None)
        if base is None and attributes is not None and _belongs_to_threads(attributes):
            return
        if base is not None:
            yield from base(thing)
        if isinstance(attributes, dict) and attributes:
            yield attributes
        for name in slots:
            yield getattr(thing, name, None)
        if own:
            yield kind

    return parts if slots or own or base is None or kind.__dictoffset__ else base


def _belongs_to_threads(attributes: dict[str, Any]) -> bool:
    """Whether an object holds a lock, a queue or a thread: others may be at work on it."""
    return any(type(value).__module__.partition(".")[0] in _OF_THREADS for value in attributes.values())


def _no_parts(thing: Any) -> Iterable[Any]:
    return _NOTHING


def _parts_of_module(module: nn.Module) -> Iterable[Any]:
    if isinstance(module, torch.jit.ScriptModule):
        return (*module.parameters(), *module.buffers())
    return _NOTHING  # its attributes come as those of any object


def _parts_of_tensor(tensor: Tensor) -> Iterable[Any]:
    return (tensor.grad,) if is_leaf(tensor) and tensor.grad is not None else _NOTHING


def _parts_of_dict(mapping: dict[Any, Any]) -> Iterable[Any]:
    if dict.__len__(mapping) > LONG:
        return _NOTHING
    return [x for x in (*dict.values(mapping), *dict.keys(mapping)) if type(x) not in ATOMS]


def _parts_of_items(items: Any) -> Iterable[Any]:
    return _NOTHING if size_of(items) > LONG else [x for x in items_of(items) if type(x) not in ATOMS]


def _parts_of_array(array: Any) -> Iterable[Any]:
    return list(array.flat) if array.dtype == object and array.size <= LONG else _NOTHING


def _parts_of_cell(cell: types.CellType) -> Iterable[Any]:
    try:
        return (cell.cell_contents,)
    except ValueError:
        return _NOTHING  # empty


def _parts_of_partial(function: Any) -> Iterable[Any]:
    return (function.func, function.args, function.keywords)


def _parts_of_generator(generator: Any) -> Iterable[Any]:
    frame = generator.gi_frame
    return list(frame.f_locals.values()) if frame is not None else _NOTHING


def _parts_of_function(function: types.FunctionType, code: bool) -> Iterable[Any]:
    yield from function.__closure__ or ()
    yield function.__defaults__
    yield function.__kwdefaults__
    if function.__dict__:
        yield function.__dict__
    if code and is_own_code(function.__module__):
        read, set_ = _names_in(function.__code__)
        variables = function.__globals__
        for name in read:
            yield variables.get(name)
        for name in {*set_, *(name for name in read if runs_dry(type(variables.get(name))))}:
            yield GlobalName(function.__globals__, name)


def _parts_of_class(kind: type) -> Iterable[Any]:
    if is_own_code(kind.__module__):
        yield from vars(kind).values()
        yield from kind.__bases__


@functools.lru_cache(maxsize=4096)
def _names_in(code: types.CodeType) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Global names that a function's code reads, and those that it sets, inner functions included."""
    read: dict[str, None] = {}
    written: dict[str, None] = {}
    for step in dis.get_instructions(code):
        if step.opname == "LOAD_GLOBAL":
            read[step.argval] = None
        elif step.opname in ("STORE_GLOBAL", "DELETE_GLOBAL"):
            written[step.argval] = None
    for inner in code.co_consts:
        if isinstance(inner, types.CodeType):
            more = _names_in(inner)
            read |= dict.fromkeys(more[0])
            written |= dict.fromkeys(more[1])
    return tuple(read), tuple(written)


_BY_CLASS: tuple[tuple[Any, Any], ...] = (
    (nn.Module, _parts_of_module),
    (Tensor, _parts_of_tensor),
    (dict, _parts_of_dict),
    (list | tuple | set | frozenset | deque, _parts_of_items),
    (np.ndarray, _parts_of_array),
    (type, _parts_of_class),
    (types.FunctionType, _parts_of_function),
    (types.MethodType, lambda method: (method.__self__, method.__func__)),
    (types.BuiltinMethodType, lambda method: (method.__self__,)),  # builtin functions too: of a module
    (types.CellType, _parts_of_cell),
    (threading.local, lambda local: (vars(local),)),  # what it holds for this thread
    (functools.partial, _parts_of_partial),
    (functools.partialmethod, _parts_of_partial),
    (types.GeneratorType, _parts_of_generator),
    (weakref.ref, lambda reference: (reference(),)),
    (property, lambda p: (p.fget, p.fset)),
    (functools.cached_property, lambda p: (p.func,)),
    (staticmethod | classmethod, lambda method: (method.__func__,)),
    (random.Random | np.random.Generator | np.random.RandomState | torch.Generator, _no_parts),
    (itertools.count | itertools.cycle | itertools.repeat, _no_parts),
)
_RULES: dict[Far, dict[type, Parts]] = {"attributes": {}, "closures": {}, "code": {}}
