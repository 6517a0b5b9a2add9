"""How long a watched model lives: not kept by its monitor, and not lost with a wrapper made for the call."""

from __future__ import annotations

import gc
import logging
import weakref

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import foldmon
from foldmon.sampling.watched import Watched


class Normalized(nn.Module):
    """A wrapper with a function of its own and no parameters."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x / 2)


class WithHead(nn.Module):
    """Owns parameters beside those that it was given."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body, self.head = body, nn.Linear(3, 2)

    def forward(self, x):
        return self.head(torch.relu(self.body(x)))


def train(model: nn.Module, steps: int, optimizer: torch.optim.Optimizer | None = None) -> None:
    optimizer = optimizer or torch.optim.SGD(model.parameters(), 0.1)
    for _ in range(steps):
        F.cross_entropy(model(torch.randn(16, 8)), torch.randint(3, (16,))).backward()
        optimizer.step()
        optimizer.zero_grad()


@pytest.mark.parametrize(
    "wrapped",
    [
        Normalized,
        nn.DataParallel,
        torch.compile,
        lambda net: Normalized(nn.DataParallel(net)),
        lambda net: nn.Sequential(nn.Flatten(), net),
    ],
)
def test_a_wrapper_made_for_the_call_counts_every_step_and_follows_the_weights(
    mlp, held_out, tmp_path, wrapped
):
    pairs = foldmon.draw_pairs(held_out)
    monitor = foldmon.watch(wrapped(mlp), pairs, every=10, exporters=[], log_dir=tmp_path)
    gc.collect()
    train(mlp, 50)
    monitor.close()
    assert monitor.steps == 50
    last = monitor.history[-1]
    scale = 0.5 if isinstance(wrapped(mlp), Normalized) else 1.0
    scaled = foldmon.Pairs(pairs.first * scale, pairs.second * scale)
    assert (last.step, last.phi) == (50, pytest.approx(foldmon.measure(mlp, scaled).phi, abs=1e-6))


def test_a_model_is_freed_as_soon_as_nothing_but_its_monitor_knows_it(held_out, tmp_path):
    for number in range(3):
        model = Normalized(nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3)))
        first = weakref.ref(model.inner[0])
        monitor = foldmon.watch(model, held_out, exporters=[], log_dir=tmp_path / str(number))
        train(model, 3)
        monitor.flush()
        del model
        gc.collect()
        assert first() is None


def test_a_model_that_goes_ends_its_watch_though_a_part_of_it_trains_on(mlp, held_out):
    watched, ended = Watched(model := WithHead(mlp)), []
    watched.when_gone(lambda: ended.append(True))
    del model
    gc.collect()
    assert (watched.gone, ended, list(watched.parameters())) == (True, [True], [])


def test_a_layer_that_is_exchanged_ends_nothing(mlp):
    watched, ended = Watched(mlp), []
    watched.when_gone(lambda: ended.append(True))
    mlp[6] = nn.Linear(32, 5)
    gc.collect()
    assert not ended
    assert mlp[6].weight in set(watched.parameters())


def test_a_second_watch_through_another_wrapper_closes_the_first(mlp, held_out, tmp_path, caplog):
    first = foldmon.watch(mlp, held_out, exporters=[], log_dir=tmp_path / "first")
    second = foldmon.watch(nn.DataParallel(mlp), held_out, exporters=[], log_dir=tmp_path / "second")
    assert (first.closed, second.closed) == (True, False)
    assert "watched already" in caplog.text


def test_a_temporary_wrapper_that_can_only_be_measured_in_place_says_so(held_out, tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    net = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))
    with foldmon.watch(
        Normalized(net), held_out, every=1, background=False, exporters=[], log_dir=tmp_path
    ) as monitor:
        gc.collect()
        train(net, 3)
    assert monitor.steps == 3
    assert "keep it in a variable" in caplog.text or "no longer exists" in caplog.text


class Tracking(nn.Linear):
    """Like a layer of Keras's: asked for its parameters, it keeps them in a part that it makes for that."""

    def named_parameters(self, prefix="", recurse=True, remove_duplicate=True):
        if "tracked" not in self._modules:
            self.tracked = nn.ParameterDict(dict(self._parameters))
        return super().named_parameters(prefix, recurse, remove_duplicate)


def test_parts_are_not_asked_for_their_parameters(held_out, tmp_path):
    model = nn.Sequential(Tracking(8, 8), nn.ReLU(), Tracking(8, 3))
    before = list(model.state_dict())
    with foldmon.watch(model, held_out, exporters=[], log_dir=tmp_path) as monitor:
        monitor.probe()
    assert list(model.state_dict()) == before
