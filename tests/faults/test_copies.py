"""A private copy is verified, or the model is measured in place, and nothing of the user's moves."""

from __future__ import annotations

import copy
import functools
import logging
import random
import threading
import types
import weakref

import numpy as np
import pytest
import torch
from torch import nn

import foldmon
from foldmon.config import Config
from tests.faults.twin import assert_training_is_the_same, data, network
from tests.training_loop import train


def watched(model: nn.Module, **options) -> foldmon.Monitor:
    return foldmon.watch(model, data(), **{"every": 5, "exporters": [], "log_dir": "run", **options})


def runs_beside(monitor: foldmon.Monitor) -> bool:
    return monitor._subject.background


def follows(monitor: foldmon.Monitor, model: nn.Module) -> bool:
    """Whether the monitor measures what a measurement of the model as it is now gives."""
    pairs = foldmon.draw_pairs(data(), 64, seed=0)
    return np.array_equal(monitor.probe().r2, foldmon.measure(model, pairs).r2)


class Holds(nn.Module):
    """A network whose parts are held as the subclass says."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(8, 3)
        self.hold([nn.Linear(8, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU()])

    def hold(self, parts: list[nn.Module]) -> None:
        self.parts = parts

    def held(self) -> list[nn.Module]:
        return self.parts

    def forward(self, x):
        for part in self.held():
            x = part(x)
        return self.head(x)


class InADict(Holds):
    def hold(self, parts):
        self.parts = {"encoder": parts[:2], "decoder": tuple(parts[2:])}

    def held(self):
        return [*self.parts["encoder"], *self.parts["decoder"]]


class InAnObject(Holds):
    def hold(self, parts):
        self.parts = types.SimpleNamespace(teacher=nn.Sequential(*parts), scale=1.0)

    def held(self):
        return [self.parts.teacher]


class InSlots(Holds):
    class Slots:
        __slots__ = ("parts",)

    def hold(self, parts):
        self.box = self.Slots()
        self.box.parts = parts

    def held(self):
        return self.box.parts


class InAPartial(Holds):
    def hold(self, parts):
        self.parts = functools.partial(_through, nn.Sequential(*parts))

    def held(self):
        return [self.parts]


def _through(module, x):
    return module(x)


@pytest.mark.parametrize("make", [Holds, InADict, InAnObject, InSlots, InAPartial])
def test_layers_that_are_registered_nowhere_are_followed(make):
    model = make()
    hidden = [p for part in model.held() for p in getattr(part, "func", part) and _parameters(part)]
    optimizer = torch.optim.SGD([*hidden, *model.head.parameters()], lr=0.5)
    monitor = watched(model)
    assert runs_beside(monitor)
    train(model, 12, optimizer)
    assert follows(monitor, model)
    assert all(parameter.requires_grad for parameter in hidden)


def _parameters(part):
    return (part.args[0] if isinstance(part, functools.partial) else part).parameters()


class Closes(nn.Module):
    """Its function reaches the model as the subclass says."""

    def __init__(self) -> None:
        super().__init__()
        self.net = network()
        self.reach()

    def forward(self, x):
        return self.call(x)


class ByClosure(Closes):
    def reach(self):
        net = self.net
        self.call = lambda x: net(x)


class ByDefault(Closes):
    def reach(self):
        self.call = lambda x, net=self.net: net(x)


class ByPartial(Closes):
    def reach(self):
        net = self.net
        self.call = functools.partial(lambda scale, x: scale * net(x), 2.0)


class ByWeakReference(Closes):
    def reach(self):
        self.call = weakref.WeakMethod(self.net.forward)

    def forward(self, x):
        return self.call()(x)


class ByGenerator(Closes):
    def reach(self):
        net = self.net

        def endless():
            x = yield
            while True:
                x = yield net(x)

        self.call = endless()
        next(self.call)

    def forward(self, x):
        return self.call.send(x)


class ItsOwnCopy(nn.Module):
    """Copies as itself."""

    def __init__(self) -> None:
        super().__init__()
        self.net = network()

    def __deepcopy__(self, memo):
        return self

    def forward(self, x):
        return self.net(x)


class HoldsItsOwnCopy(Closes):
    def reach(self):
        self.call = ItsOwnCopy()


GLOBAL = network()


class ByGlobal(Closes):
    def reach(self):
        GLOBAL.load_state_dict(self.net.state_dict())
        del self.net

    def forward(self, x):
        return GLOBAL(x)

    def parameters(self, recurse=True):
        return GLOBAL.parameters(recurse)


class LowRank(Closes):
    """A layer's forward replaced by hand."""

    def reach(self):
        self.down, self.up = nn.Parameter(0.1 * torch.randn(8, 2)), nn.Parameter(torch.zeros(2, 32))
        layer, old = self.net[0], self.net[0].forward
        layer.forward = lambda x: old(x) + x @ self.down @ self.up
        self.call = self.net.forward


REACHING = [ByClosure, ByDefault, ByPartial, ByWeakReference, HoldsItsOwnCopy, ByGlobal, LowRank]


@pytest.mark.parametrize("make", REACHING)
def test_a_copy_that_reaches_the_model_is_none_and_training_is_the_same(make, caplog):
    monitors = []

    def watch(model):
        monitors.append(watched(model))
        return monitors[0]

    assert_training_is_the_same(watch, make, steps=12)
    assert caplog.text.count("measured in the training thread") == 1
    assert monitors[0].report.step == 24


def test_a_function_given_as_forward_that_runs_the_model_itself(caplog):
    def watch(model):
        return watched(model, forward=lambda module, x: model(x))

    assert_training_is_the_same(watch, steps=12)
    assert "measured in the training thread" in caplog.text


def test_a_generator_that_cannot_be_wound_back_is_not_drawn_from(caplog):
    drawn = []

    class Draws(Closes):
        def reach(self):
            def scales():
                while True:
                    drawn.append(1)
                    yield 1.5

            self.scales = scales()

        def forward(self, x):
            return next(self.scales) * self.net(x)

    counts = []

    def watch(model):
        counts.append(len(drawn))
        return watched(model)

    assert_training_is_the_same(watch, Draws, steps=5)
    assert len(drawn) == 2 * counts[0] == 20
    assert caplog.text.count("the model is not measured: its forward pass uses a generator") == 1


def unet(keep) -> nn.Module:
    class Unet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder, self.decoder = nn.Linear(8, 16), nn.Linear(32, 3)
            keep(self)

        def forward(self, x):
            return self.decoder(torch.cat([torch.relu(self.encoder(x)), self.kept["features"]], 1))

    return Unet()


def _by_method(model):
    model.kept = {}
    model.keep = types.MethodType(lambda self, m, x, y: self.kept.update(features=y), model)
    model.encoder.register_forward_hook(model.keep)


def _by_closure(model):
    model.kept = kept = {}
    model.encoder.register_forward_hook(lambda m, x, y: kept.update(features=y))


@pytest.mark.parametrize(("keep", "beside"), [(_by_method, True), (_by_closure, False)])
def test_features_that_a_hook_keeps(keep, beside):
    model = unet(keep)
    monitor = watched(model)
    train(model, 6)
    assert runs_beside(monitor) == beside
    assert follows(monitor, model)


def test_a_hook_that_normalizes_is_part_of_the_function():
    def make():
        model = network()
        model.register_forward_pre_hook(lambda module, args: ((args[0] - 5.0) / 3,))
        return model

    model = make()
    assert not runs_beside(monitor := watched(model))
    assert follows(monitor, model)
    assert_training_is_the_same(watched, make, steps=12)


def test_a_hook_that_only_listens_stays_behind_and_hears_nothing_of_foldmon():
    heard = []
    model = network()
    model[0].register_forward_hook(lambda module, args, output: heard.append(len(output)))
    monitor = watched(model)
    train(model, 12)
    monitor.flush()
    assert runs_beside(monitor)
    assert heard == [16] * 12


def test_hooks_around_every_module_hear_nothing_of_foldmon(caplog):
    heard = []
    handle = nn.modules.module.register_module_forward_hook(lambda module, args, y: heard.append(module))
    try:
        model = network()
        monitor = watched(model)
        train(model, 5)
        monitor.flush()
        assert len(heard) == 5 * 8
        assert "hooks run around every module" in caplog.text
    finally:
        handle.remove()


def around_every_module() -> bool:
    """Whether there is a hook around every module, of whomever's."""
    return bool(nn.modules.module._global_forward_pre_hooks or nn.modules.module._global_forward_hooks)


def test_several_threads_watch_their_models_at_once():
    """While one looks its model over, it listens around every module; another takes that for nothing."""
    begun, go_on = threading.Event(), threading.Event()

    class Waits(nn.Module):
        def forward(self, x):
            if around_every_module():
                begun.set()
                go_on.wait(60)
            return x.relu()

    monitors = []
    slow, quick = nn.Sequential(network(), Waits()), network()
    thread = threading.Thread(target=lambda: monitors.append(watched(slow)))
    thread.start()
    assert begun.wait(60)
    monitors.append(watched(quick))
    go_on.set()
    thread.join()
    assert all(map(runs_beside, monitors))
    assert not around_every_module()


def test_a_large_array_is_shared_and_a_large_tensor_cloned_once():
    class Banks(Closes):
        def reach(self):
            self.bank, self.table = torch.zeros(2**23), np.zeros(2**23)

        def forward(self, x):
            return self.net(x) + self.bank[:3] + float(self.table[0])

    model = Banks()
    monitor = watched(model)
    copied = monitor._subject.strategy.replica.module
    assert np.shares_memory(copied.table, model.table)
    before = copied.bank._version
    train(model, 6)
    monitor.flush()
    assert copied.bank._version == before
    model.bank[0] = 7.0
    monitor.probe()
    assert copied.bank[0] == 7.0
    small = foldmon.watch(model, data(), exporters=[], config=Config(replica_limit=2**20))
    assert not runs_beside(small)


def test_what_a_forward_pass_gathers_is_put_back_in_the_copy_too():
    class Gathers(Closes):
        def reach(self):
            self.kept, self.last, self.cache = [], None, {}

        def forward(self, x):
            y = self.net(x)
            self.kept.append(y)
            self.last, self.cache[len(x)] = y, y
            return y

    model = Gathers()
    monitor = watched(model)
    train(model, 6)
    monitor.flush()
    monitor.probe()
    copied = monitor._subject.strategy.replica.module
    assert runs_beside(monitor)
    assert len(copied.kept) == len(model.kept) == 6
    assert torch.equal(copied.kept[2], model.kept[2])
    assert copied.cache.keys() == model.cache.keys()


COUNTED = {"passes": 0}


class Moves(Closes):
    """Changes all kinds of things in a forward pass in eval mode."""

    seen = 0

    def reach(self):
        self.numbers, self.python = np.random.default_rng(1), random.Random(1)
        self.torch = torch.Generator().manual_seed(1)
        self.items, self.bank, self.array = iter(range(10**6)), torch.zeros(4), np.zeros(4)
        self.marks = {1}

    def forward(self, x):
        COUNTED["passes"] += 1
        type(self).seen += 1
        next(self.items)
        self.marks.add(self.numbers.random())
        self.bank[0] += self.python.random()
        self.array[1] += 1
        self.net[0].weight.data.mul_(1.001)
        self.state = x.mean()
        return self.net(x) + torch.rand(1, generator=self.torch)


@pytest.mark.parametrize("background", [True, False])
def test_everything_that_a_pass_moves_is_put_back(background):
    model = Moves()
    train(model, 2)
    before = copy.deepcopy({name: vars(model)[name] for name in ("marks", "bank", "array", "items")})
    states = model.numbers.bit_generator.state, model.python.getstate(), model.torch.get_state()
    weight, version, seen = (
        model.net[0].weight.clone(),
        model.net[0].weight._version,
        (Moves.seen, dict(COUNTED)),
    )
    state = model.state
    monitor = watched(model, background=background)
    monitor.probe()
    assert (Moves.seen, COUNTED) == seen
    assert model.state is state
    assert model.marks == before["marks"]
    assert torch.equal(model.bank, before["bank"])
    assert np.array_equal(model.array, before["array"])
    assert next(model.items) == next(before["items"])
    assert torch.equal(model.net[0].weight, weight)
    assert model.net[0].weight._version == version
    assert model.numbers.bit_generator.state == states[0]
    assert model.python.getstate() == states[1]
    assert torch.equal(model.torch.get_state(), states[2])


def test_a_pass_that_fails_half_way_is_put_back_too():
    class Fails(Closes):
        def reach(self):
            self.h, self.items, self.broken = None, [], False

        def forward(self, x):
            self.items.append(1)
            self.h = x
            if self.broken and not self.training:
                raise RuntimeError("half-way")
            return self.net(x)

    model = Fails()
    monitor = watched(model, background=False)
    model.broken = True
    with pytest.raises(RuntimeError, match="half-way"):
        monitor.probe()
    assert model.h is None
    assert model.items == []


class DrawsLater(Closes):
    def reach(self):
        self.p = 0.0
        self.register_buffer("passes", torch.zeros(()))

    def forward(self, x):
        y = self.net(x)
        if self.training:
            self.passes += 1
        if self.passes > 20 or self.p:
            y = y + 0.1 * torch.randn_like(y)
        return y


@pytest.mark.parametrize("background", [True, False])
def test_random_draws_that_begin_later_are_noticed(background, caplog):
    caplog.set_level(logging.INFO, "foldmon")

    def change(model):
        model.p = 0.5

    assert_training_is_the_same(
        lambda m: watched(m, every=1, background=background), DrawsLater, steps=10, during=change
    )
    assert "random numbers" in caplog.text


def test_draws_that_a_buffer_begins_are_refused_before_they_happen():
    assert_training_is_the_same(lambda m: watched(m, every=1), DrawsLater, steps=20)
    model = DrawsLater()
    monitor = watched(model, every=1000)
    monitor.flush()
    model.passes.fill_(100)
    before = torch.get_rng_state()
    with pytest.raises(RuntimeError, match="begun to draw random numbers"):
        monitor.probe()
    assert torch.equal(torch.get_rng_state(), before)
    assert runs_beside(monitor)
    assert monitor.probe().r2.sum() > 0
    assert not runs_beside(monitor)


def test_an_epoch_counter_that_lives_elsewhere_is_followed():
    class Trainer:
        def __init__(self):
            self.epoch = 0

    class Follows(Closes):
        def reach(self):
            self.trainer, self.steps = Trainer(), [0]

        def forward(self, x):
            return torch.relu(self.net(x) * (-1) ** (self.trainer.epoch + self.steps[0]))

    model = Follows()
    monitor = watched(model)
    assert runs_beside(monitor)
    model.trainer.epoch = 1
    assert follows(monitor, model)
    model.steps.append(5)
    model.steps[0] = 1
    assert follows(monitor, model)


def test_a_copy_that_begins_to_compute_something_else_is_given_up(caplog):
    class Elsewhere(nn.Module):
        """Reads a number that no copy has: its own address in memory."""

        begun = False

        def __init__(self) -> None:
            super().__init__()
            self.net, self.home = network(), []
            self.home.append(id(self))

        def forward(self, x):
            return self.net(x) * (2.0 if Elsewhere.begun and id(self) in self.home else 1.0)

    model = Elsewhere()
    monitor = watched(model)
    monitor.probe()
    Elsewhere.begun = True
    for _ in range(4):
        monitor.probe()
    assert not runs_beside(monitor)
    assert caplog.text.count("its copy computes something else") == 1


def test_the_model_is_free_to_go_while_it_is_watched():
    model = unet(_by_method)
    monitor = watched(model)
    monitor.flush()
    reference = weakref.ref(model)
    del model
    import gc

    gc.collect()
    assert reference() is None
    monitor.close()


class Evasive(tuple):
    """Counts and goes through itself in no way, as some libraries' containers."""

    def __len__(self):
        raise NotImplementedError

    def __iter__(self):
        raise NotImplementedError


class Shouting(dict):
    """A mapping whose items are others than it holds."""

    def __iter__(self):
        return iter("ab")

    def keys(self):
        return ["a", "b"]

    def values(self):
        raise NotImplementedError


class Sulking(list):
    """A list that says it is empty."""

    def __len__(self):
        return 0


@pytest.mark.parametrize("background", [True, False])
@pytest.mark.parametrize("make", [Evasive, Sulking, lambda items: Shouting(enumerate(items))])
def test_containers_that_answer_in_their_own_way(make, background):
    model = network()
    model.kept = make([1.0, torch.zeros(3), "text"])
    monitor = watched(model, background=background)
    train(model, 10)
    assert follows(monitor, model)
    assert len(monitor.history) >= 3


@pytest.mark.parametrize("background", [True, False])
def test_the_systems_generator_has_no_state_to_keep(background):
    model = network()
    model.dice = random.SystemRandom()
    monitor = watched(model, background=background)
    train(model, 5)
    assert follows(monitor, model)
