"""Models, data and training loops at random, each with habits that a monitor may stumble over."""

from __future__ import annotations

import copy
import functools
import itertools
import random
import tempfile
import types
import weakref
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from torch.utils.data import DataLoader, Dataset, Sampler, TensorDataset

WIDTH, CLASSES = 6, 3
COUNTS: dict[str, int] = {}
CALLS = 0
TEACHER: list[nn.Module] = []


def body() -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(WIDTH, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.1), nn.Linear(8, WIDTH), nn.ReLU()
    )


class Base(nn.Module):
    """A body, held as one habit says, and a head; other habits act before and after."""

    seen = 0
    log: list[int] = []  # noqa: RUF012

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(WIDTH, CLASSES)
        self.before: list[Callable[[Any, Tensor], Tensor]] = []
        self.extra: list[nn.Parameter] = []

    def forward(self, x: Tensor) -> Tensor:
        for habit in self.before:
            x = habit(self, x)
        return self.head(self.call(x))


# How the body is held. Each gives the model's ``call`` and says which weights are trained.


def registered(model: Any, inner: nn.Module) -> None:
    model.inner = inner
    model.call = types.MethodType(_call_inner, model)


def _call_inner(self: Any, x: Tensor) -> Tensor:
    return self.inner(x)


def in_a_list(model: Any, inner: nn.Module) -> None:
    model.hidden = [inner]
    model.call = types.MethodType(lambda self, x: self.hidden[0](x), model)


def in_a_dict(model: Any, inner: nn.Module) -> None:
    model.hidden = {"a": {"b": (inner,)}}
    model.call = types.MethodType(lambda self, x: self.hidden["a"]["b"][0](x), model)


@dataclass
class Box:
    inner: nn.Module
    scale: float = 1.0
    others: list[int] = field(default_factory=list)


def in_a_dataclass(model: Any, inner: nn.Module) -> None:
    model.hidden = Box(inner)
    model.call = types.MethodType(lambda self, x: self.hidden.scale * self.hidden.inner(x), model)


class Slotted:
    __slots__ = ("count", "inner")

    def __init__(self, inner: nn.Module) -> None:
        self.inner = inner

    def __call__(self, x: Tensor) -> Tensor:
        self.count = getattr(self, "count", 0) + 1
        return self.inner(x)


def in_slots(model: Any, inner: nn.Module) -> None:
    model.call = Slotted(inner)


def in_a_closure(model: Any, inner: nn.Module) -> None:
    model.call = lambda x: inner(x)


def in_a_default(model: Any, inner: nn.Module) -> None:
    model.call = lambda x, held=inner: held(x)


def in_a_partial(model: Any, inner: nn.Module) -> None:
    model.call = functools.partial(_apply, inner)


def _apply(inner: nn.Module, x: Tensor) -> Tensor:
    return inner(x)


def by_a_weak_method(model: Any, inner: nn.Module) -> None:
    model.inner = inner
    reference = weakref.WeakMethod(inner.forward)
    model.call = lambda x: reference()(x)  # type: ignore[misc]


def by_a_global(model: Any, inner: nn.Module) -> None:
    TEACHER[:] = [inner]
    model.call = _call_teacher


def _call_teacher(x: Tensor) -> Tensor:
    return TEACHER[0](x)


class CopiesAsItself:
    def __init__(self, inner: nn.Module) -> None:
        self.inner = inner

    def __deepcopy__(self, memo: Any) -> CopiesAsItself:
        return self

    def __call__(self, x: Tensor) -> Tensor:
        return self.inner(x)


def in_what_copies_as_itself(model: Any, inner: nn.Module) -> None:
    model.call = CopiesAsItself(inner)


def with_low_rank(model: Any, inner: Any) -> None:
    registered(model, inner)
    down, up = nn.Parameter(0.1 * torch.randn(WIDTH, 2)), nn.Parameter(torch.zeros(2, 8))
    old = inner[0].forward
    inner[0].forward = lambda x: old(x) + x @ down @ up
    model.extra += [down, up]


def under_autocast(model: Any, inner: nn.Module) -> None:
    registered(model, inner)
    model.call = torch.autocast("cpu", enabled=False)(model.call)


HOLDERS = [
    registered, registered, registered, in_a_list, in_a_dict, in_a_dataclass, in_slots, in_a_closure,
    in_a_default, in_a_partial, by_a_weak_method, by_a_global, in_what_copies_as_itself, with_low_rank,
    under_autocast,
]  # fmt: skip

# What a forward pass does beside. Each is given the model once, and installs itself.


def gathers(model: Any) -> None:
    model.kept = []
    model.before.append(lambda self, x: (self.kept.append(x.detach()), x)[1])


def gathers_outputs(model: Any) -> None:
    model.outputs = deque(maxlen=3)
    model.head.register_forward_hook(lambda module, args, y: model.outputs.append(y))


def remembers(model: Any) -> None:
    model.h = None

    def habit(self: Any, x: Tensor) -> Tensor:
        self.h = x.mean(0) if self.h is None else 0.9 * self.h.detach() + 0.1 * x.mean(0)
        return x + 0.1 * self.h

    model.before.append(habit)


def caches(model: Any) -> None:
    model.cache = {}
    model.before.append(lambda self, x: x + self.cache.setdefault(len(x), torch.ones(len(x), 1)) * 0.1)


def counts_on_itself(model: Any) -> None:
    model.steps = 0

    def habit(self: Any, x: Tensor) -> Tensor:
        self.steps += 1
        return x

    model.before.append(habit)


def counts_on_the_class(model: Any) -> None:
    def habit(self: Any, x: Tensor) -> Tensor:
        type(self).seen += 1
        type(self).log.append(len(x))
        return x

    model.before.append(habit)


def counts_in_globals(model: Any) -> None:
    model.before.append(_count_in_globals)


def _count_in_globals(self: Any, x: Tensor) -> Tensor:
    global CALLS
    CALLS += 1
    COUNTS["passes"] = COUNTS.get("passes", 0) + 1
    return x


def counts_in_a_closure(model: Any) -> None:
    passes = 0

    def habit(self: Any, x: Tensor) -> Tensor:
        nonlocal passes
        passes += 1
        return x + 0.001 * (passes % 7)

    model.before.append(habit)


def draws_of_its_own(model: Any) -> None:
    model.rngs = {"numpy": np.random.default_rng(1), "python": random.Random(2), "torch": torch.Generator()}
    model.rngs["legacy"] = np.random.RandomState(3)

    def habit(self: Any, x: Tensor) -> Tensor:
        rngs = self.rngs
        noise = rngs["numpy"].random() + rngs["python"].random() + rngs["legacy"].rand()
        return x + 0.01 * noise + 0.01 * torch.rand(1, generator=rngs["torch"])

    model.before.append(habit)


def draws_globally(model: Any) -> None:
    def habit(self: Any, x: Tensor) -> Tensor:
        return x + 0.01 * torch.rand(1) + 0.01 * random.random() + 0.01 * np.random.rand()

    model.before.append(habit)


def draws_later(model: Any) -> None:
    model.noise = 0.0
    model.later = lambda: setattr(model, "noise", 0.1)
    model.before.append(lambda self, x: x + self.noise * torch.randn_like(x) if self.noise else x)


def draws_after_some_passes(model: Any) -> None:
    model.register_buffer("passes", torch.zeros(()))

    def habit(self: Any, x: Tensor) -> Tensor:
        if self.training:
            self.passes += 1
        return nn.functional.dropout(x, 0.1, training=bool(self.passes > 3))

    model.before.append(habit)


def writes_to_tensors(model: Any) -> None:
    model.register_buffer("total", torch.zeros(WIDTH))
    model.bank, model.table = torch.zeros(50, WIDTH), np.zeros(WIDTH)

    def habit(self: Any, x: Tensor) -> Tensor:
        with torch.no_grad():
            self.total = self.total + x.mean(0)
            self.bank[: len(x)] = x[:50]
            self.table[0] += 1
        return x + 0.01 * self.bank[:1]

    model.before.append(habit)


def writes_to_weights(model: Any) -> None:
    def habit(self: Any, x: Tensor) -> Tensor:
        self.head.weight.data.mul_(0.999)
        return x

    model.before.append(habit)


def takes_from_iterators(model: Any) -> None:
    model.items, model.count = iter(range(10**6)), itertools.count()

    def habit(self: Any, x: Tensor) -> Tensor:
        return x + 1e-3 * (next(self.items) % 3 + next(self.count) % 5)

    model.before.append(habit)


def takes_from_a_generator(model: Any) -> None:
    def scales() -> Any:
        for step in itertools.count():
            yield 1 + 0.01 * (step % 5)

    model.scales = scales()
    model.before.append(lambda self, x: x * next(self.scales))


def reads_a_file(model: Any) -> None:
    model.file = tempfile.TemporaryFile()  # noqa: SIM115
    model.file.write(bytes(range(256)) * 40)
    model.file.seek(0)
    model.before.append(lambda self, x: x + 1e-3 * (self.file.read(1) or b"0")[0])


def learns_in_the_pass(model: Any) -> None:
    def habit(self: Any, x: Tensor) -> Tensor:
        with torch.enable_grad():
            self.head(x.detach()).square().mean().backward()
        return x

    model.before.append(habit)


def follows_an_epoch(model: Any) -> None:
    model.trainer = types.SimpleNamespace(epoch=0, model=model, losses=[])
    model.later = lambda: setattr(model.trainer, "epoch", 3)
    model.before.append(lambda self, x: x * (1 + self.trainer.epoch))


def normalizes_by_a_hook(model: Any) -> None:
    mean = torch.full((WIDTH,), 0.3)
    model.register_forward_pre_hook(lambda module, args: ((args[0] - mean) / 2,))


def doubles_by_a_hook(model: Any) -> None:
    model.head.register_forward_hook(lambda module, args, output: 2 * output)


def keeps_features_by_a_hook(model: Any) -> None:
    kept: dict[str, Tensor] = {}
    model.entry = nn.Identity()
    model.entry.register_forward_hook(lambda module, args, output: kept.update(x=output))
    model.before.append(lambda self, x: self.entry(x) + kept["x"])


def listens_by_a_hook(model: Any) -> None:
    model.heard = []
    model.head.register_forward_pre_hook(lambda module, args: model.heard.append(args[0].shape))


def is_parametrized(model: Any) -> None:
    parametrizations.spectral_norm(model.head)


def ties_weights(model: Any) -> None:
    model.tied = nn.Linear(WIDTH, CLASSES)
    if isinstance(model.head.weight, nn.Parameter):  # and no parametrization's
        model.tied.weight = model.head.weight


def makes_things_lazily(model: Any) -> None:
    def habit(self: Any, x: Tensor) -> Tensor:
        if not hasattr(self, "mask"):
            self.mask = torch.ones(WIDTH)
            self.register_buffer("lazily", torch.ones(1))
        return x * self.mask

    model.before.append(habit)


def freezes(model: Any) -> None:
    model.head.bias.requires_grad_(False)
    model.later = lambda: model.head.bias.requires_grad_(True)


HABITS = [
    gathers, gathers_outputs, remembers, caches, counts_on_itself, counts_on_the_class, counts_in_globals,
    counts_in_a_closure, draws_of_its_own, draws_globally, draws_later, draws_after_some_passes,
    writes_to_tensors, writes_to_weights, takes_from_iterators, takes_from_a_generator, reads_a_file,
    learns_in_the_pass, follows_an_epoch, normalizes_by_a_hook, doubles_by_a_hook, keeps_features_by_a_hook,
    listens_by_a_hook, is_parametrized, ties_weights, makes_things_lazily, freezes,
]  # fmt: skip

# Held-out data. Each gives what foldmon.watch is given; what it must leave alone hangs on it.

X = torch.randn(40, WIDTH, generator=torch.Generator().manual_seed(1))
Y = torch.arange(40) % CLASSES


class Lazy(Dataset[Any]):
    """Opens its file when it is first read, and draws of its own."""

    def __init__(self) -> None:
        self.file: Any = None
        self.rng, self.read = np.random.default_rng(5), 0

    def __len__(self) -> int:
        return len(X)

    def __getitem__(self, index: int) -> Any:
        self.file = self.file or open(__file__)  # noqa: SIM115
        self.read += 1
        return X[index] + 1e-3 * self.rng.random(), int(Y[index])


class Own(Sampler[int]):
    def __init__(self) -> None:
        self.rng = np.random.default_rng(7)

    def __len__(self) -> int:
        return len(X)

    def __iter__(self) -> Any:
        return iter(self.rng.permutation(len(X)).tolist())


DATA: list[Callable[[], Any]] = [
    lambda: (X, Y),
    lambda: X,
    lambda: TensorDataset(X, Y),
    lambda: DataLoader(TensorDataset(X, Y), 8, shuffle=True),
    lambda: DataLoader(TensorDataset(X, Y), 8, sampler=Own()),
    lambda: DataLoader(Lazy(), 8),
    lambda: [(X[i], int(Y[i])) for i in range(len(X))],
]
OPTIMIZERS: list[Callable[[Any], torch.optim.Optimizer]] = [
    lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9),
    lambda p: torch.optim.Adam(p, lr=1e-2),
    lambda p: torch.optim.AdamW(p, lr=1e-2, foreach=True),
    lambda p: torch.optim.RMSprop(p, lr=1e-3),
]


@dataclass(frozen=True)
class Combination:
    """One way to train, all of it by a number."""

    seed: int

    @functools.cached_property
    def parts(self) -> dict[str, Any]:
        """What was drawn."""
        draw = random.Random(self.seed)
        habits = draw.sample(HABITS, draw.choice((0, 1, 1, 2, 2, 3)))
        return {
            "holder": draw.choice(HOLDERS),
            "habits": habits,
            "data": draw.randrange(len(DATA)),
            "optimizer": draw.randrange(len(OPTIMIZERS)),
            "background": draw.random() < 0.7,
            "every": draw.choice((1, 2, 3, None)),
        }

    def __str__(self) -> str:
        parts = dict(self.parts)
        parts["holder"] = parts["holder"].__name__
        parts["habits"] = [habit.__name__ for habit in parts["habits"]]
        return f"{self.seed}: {parts}"

    def model(self) -> tuple[Any, list[nn.Parameter]]:
        """The model, and the weights that are trained."""
        global CALLS
        CALLS, Base.seen = 0, 0
        COUNTS.clear()
        Base.log.clear()
        model, inner = Base(), body()
        self.parts["holder"](model, inner)
        for habit in self.parts["habits"]:
            habit(model)
        weights = {id(p): p for p in (*model.parameters(), *inner.parameters(), *model.extra)}
        return model, list(weights.values())


def surroundings(model: Any, data: Any) -> dict[str, Any]:
    """All that must be the same with and without a monitor, as plain values."""
    return {
        "model": plain(model, {}),
        "data": plain(data, {}),
        "class": (Base.seen, list(Base.log)),
        "globals": (CALLS, dict(COUNTS)),
        "teacher": plain(TEACHER, {}),
        "random": plain((torch.get_rng_state(), random.getstate(), np.random.get_state()), {}),
    }


def plain(thing: Any, seen: dict[int, int]) -> Any:
    """A thing as nested tuples of plain values: what it holds, wherever it holds it."""
    if thing is None or isinstance(thing, bool | int | float | str | bytes | torch.Size | torch.dtype | type):
        return thing
    if id(thing) in seen:
        return ("seen", seen[id(thing)])
    seen[id(thing)] = len(seen)
    kind = type(thing).__name__
    if isinstance(thing, Tensor):
        values = thing.detach().reshape(-1).tolist()
        return (
            kind,
            tuple(thing.shape),
            repr(values),
            thing.requires_grad,
            thing._version,
            plain(_grad(thing), seen),
        )
    if isinstance(thing, np.ndarray):
        return kind, repr(thing.tolist())
    if isinstance(thing, torch.Generator):
        return kind, thing.get_state().tolist()
    if isinstance(thing, np.random.Generator):
        return kind, repr(thing.bit_generator.state)
    if isinstance(thing, np.random.RandomState):
        return kind, repr(thing.get_state())
    if isinstance(thing, random.Random):
        return kind, thing.getstate()
    if isinstance(thing, OrderedDict) and thing and all(isinstance(key, int) for key in thing):
        return kind, tuple(plain(hook, seen) for hook in thing.values())  # by numbers of the whole process
    if isinstance(thing, dict):
        return kind, tuple((plain(k, seen), plain(v, seen)) for k, v in thing.items())
    if isinstance(thing, list | tuple | set | frozenset | deque):
        return kind, tuple(plain(item, seen) for item in thing)
    if isinstance(thing, types.FunctionType):
        cells = tuple(plain(cell.cell_contents, seen) for cell in thing.__closure__ or ())
        return kind, thing.__qualname__, cells, plain(thing.__defaults__, seen)
    if isinstance(thing, types.MethodType):
        return kind, plain(thing.__self__, seen), thing.__func__.__qualname__
    if isinstance(thing, functools.partial):
        return kind, plain((thing.func, thing.args, thing.keywords), seen)
    if hasattr(thing, "gi_frame"):
        return kind, thing.gi_frame is not None and plain(dict(thing.gi_frame.f_locals), seen)
    if hasattr(thing, "tell"):
        return kind, thing.closed or thing.tell()
    if hasattr(thing, "__next__"):
        return kind, repr(copy.copy(thing).__reduce__())
    slots = tuple((n, plain(getattr(thing, n, None), seen)) for n in getattr(type(thing), "__slots__", ()))
    return kind, slots, plain(getattr(thing, "__dict__", None), seen)


def _grad(tensor: Tensor) -> Tensor | None:
    return tensor.grad if tensor.is_leaf else None
