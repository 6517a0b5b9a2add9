"""Models and data that fail, while training goes on."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn

import foldmon
from tests.faults.twin import assert_training_is_the_same, data, network
from tests.training_loop import train


def watched(model: nn.Module, **options) -> foldmon.Monitor:
    return foldmon.watch(model, data(), **{"every": 10, "exporters": [], "log_dir": "run", **options})


class Body(nn.Module):
    """A network whose forward ends as the subclass says; its training goes through ``net``."""

    def __init__(self) -> None:
        super().__init__()
        self.net = network()

    def forward(self, x):
        output = self.net(x)
        return output if self.training else self.ending(output)


class Raises(Body):
    broken = False

    def ending(self, output):
        if type(self).broken:
            raise RuntimeError("the projector is missing")
        return output


class ReturnsNone(Body):
    def ending(self, output):
        return None


class ReturnsDict(Body):
    def ending(self, output):
        return {"logits": output, "loss": None}


@dataclass
class Output:
    logits: torch.Tensor
    hidden: tuple[()] = ()


class ReturnsDataclass(Body):
    def ending(self, output):
        return Output(output)


@pytest.mark.parametrize("background", [True, False])
def test_a_forward_pass_that_begins_to_fail(background, caplog):
    monitors = []

    def watch(model):
        monitors.append(watched(model, background=background))
        monitors[0].flush()
        return monitors[0]

    def break_it(model):
        Raises.broken = True

    Raises.broken = False
    try:
        assert_training_is_the_same(watch, Raises, during=lambda model: break_it(model) if monitors else None)
    finally:
        Raises.broken = False
    assert caplog.text.count("the projector is missing") == 1
    assert monitors[0].report is not None


def test_a_forward_pass_that_fails_from_the_start_raises_at_watch():
    Raises.broken = True
    try:
        with pytest.raises(RuntimeError, match="the projector is missing"):
            watched(Raises())
    finally:
        Raises.broken = False


@pytest.mark.parametrize("make", [ReturnsNone, ReturnsDict, ReturnsDataclass])
def test_whatever_a_forward_pass_returns(make):
    monitors = []

    def watch(model):
        monitors.append(watched(model))
        return monitors[0]

    assert_training_is_the_same(watch, make)
    report = monitors[0].report
    assert report.r2.sum() > 0
    assert (report.decision is None) == (make is ReturnsNone)


def spoil(model: nn.Module) -> None:
    with torch.no_grad():
        model[0].weight[3] = float("nan")


def test_weights_that_are_nan_are_measured_and_said():
    monitors = []

    def watch(model):
        monitors.append(watched(model, background=False))
        return monitors[0]

    assert_training_is_the_same(watch, during=spoil)
    monitor = monitors[0]
    assert monitor.report.nonfinite.sum() > 0
    assert any("NaN" in note for note in monitor.report.notes)


class Sizes:
    """Holds a lock: what other threads may be at work on is not put back after a probe."""

    def __init__(self) -> None:
        self.lock, self.noted = threading.Lock(), list[int]()


class Hungry(nn.Module):
    """Has memory for ``most`` inputs at once."""

    most = 10**9
    sizes = Sizes()

    def __init__(self) -> None:
        super().__init__()
        self.net = network()

    def forward(self, x):
        if not self.training:
            Hungry.sizes.noted.append(len(x))
            if len(x) > Hungry.most:
                raise torch.OutOfMemoryError(f"tried to allocate {len(x) * id(x)} bytes")
        return self.net(x)


@pytest.fixture
def hungry():
    Hungry.most, Hungry.sizes = 10**9, Sizes()
    yield Hungry
    Hungry.most = 10**9


def test_out_of_memory_halves_the_chunk(hungry, caplog):
    model = hungry()
    monitor = watched(model, method="sampled")
    enough = monitor.probe()
    hungry.most = 100
    assert (monitor.probe().r1 == enough.r1).all()
    monitor.close()
    assert_training_is_the_same(lambda model: watched(model, method="sampled", log_dir="other"), hungry)
    assert "a probe failed" not in caplog.text
    sizes = hungry.sizes.noted
    assert max(sizes) > 100 >= min(sizes)


def test_out_of_memory_that_stays_pauses_probing_with_one_warning(hungry, caplog):
    monitors = []

    def watch(model):
        monitors.append(watched(model, every=1, background=False))
        return monitors[0]

    def shrink(model):
        if monitors:
            hungry.most = 0
            hungry.sizes = Sizes()

    assert_training_is_the_same(watch, hungry, during=shrink)
    # The sizes in the texts differ; the cause is one.
    assert caplog.text.count("a probe failed (OutOfMemoryError") == 1
    assert "the next probe comes in 2 s or later" in caplog.text
    assert len(hungry.sizes.noted) < 40, "40 steps, each due for a probe of several passes"


class Locked(Body):
    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()

    def ending(self, output):
        return output


def test_a_model_that_cannot_be_copied_is_measured_in_place_and_says_so(caplog):
    assert_training_is_the_same(watched, Locked)
    assert caplog.text.count("measured in the training thread") == 1
    assert "cannot be copied" in caplog.text


def test_a_model_that_can_no_longer_be_copied_says_so(caplog):
    monitors = []

    def watch(model):
        monitors.append(watched(model, every=2))
        return monitors[0]

    def change(model):
        if monitors:
            monitors[0].flush()
        model[2] = nn.LeakyReLU()
        model[2].lock = threading.Lock()

    assert_training_is_the_same(watch, during=change)
    assert caplog.text.count("cannot be copied") == 1
    assert monitors[0].report.step == 80, "measured in place"


class Broken(torch.utils.data.Dataset):
    def __len__(self) -> int:
        return 50

    def __getitem__(self, index):
        raise OSError("the share is not mounted")


@pytest.mark.parametrize(
    ("held_out", "error", "message"),
    [
        (Broken(), ValueError, "the share is not mounted"),
        (torch.utils.data.DataLoader(Broken(), batch_size=8, shuffle=True), ValueError, "not mounted"),
        (torch.empty(0, 8), ValueError, "empty"),
        ((np.zeros((0, 8)), np.zeros(0)), ValueError, "empty"),
        (torch.utils.data.TensorDataset(torch.empty(0, 8)), ValueError, "empty"),
        (None, TypeError, "cannot be read"),
    ],
    ids=["raises", "loader raises", "empty", "empty arrays", "empty data set", "none"],
)
def test_held_out_data_that_fail_raise_at_watch_and_leave_training_alone(held_out, error, message):
    def watch(model):
        with pytest.raises(error, match=message):
            foldmon.watch(model, held_out, exporters=[])

    assert_training_is_the_same(watch, steps=5)


def test_a_model_without_activation_layers_is_left_as_it_was():
    def watch(model):
        with pytest.raises(ValueError, match="no activation layer"):
            watched(model)

    assert_training_is_the_same(watch, lambda: nn.Sequential(nn.Linear(8, 3)), steps=5)


def test_an_optimizer_of_an_unusual_make_steps_on(caplog):
    class Odd(torch.optim.SGD):
        def step(self, closure=None):
            super().step(closure)
            self.param_groups = [{}]

        def zero_grad(self, set_to_none=True):
            self.param_groups = self.kept
            super().zero_grad(set_to_none)

    model = network()
    monitor = watched(model)
    optimizer = Odd(model.parameters(), lr=0.1)
    optimizer.kept = optimizer.param_groups
    assert len(train(model, 10, optimizer)) == 10
    monitor.close()


def test_watching_twice_and_closing_twice():
    def watch(model):
        watched(model, log_dir="first")
        return watched(model, log_dir="second")

    assert_training_is_the_same(watch, during=lambda model: foldmon.watch(network(), data()).close())


def test_two_watched_models_each_have_their_own_run():
    first, second = network(), network()
    monitors = [watched(first, log_dir="g"), watched(second, log_dir="d")]
    train(first, 30)
    train(second, 20)
    for monitor, steps in zip(monitors, (30, 20), strict=True):
        monitor.close()
        assert monitor.steps == steps


def test_two_monitors_on_one_log_dir_get_a_journal_each_and_it_is_said(caplog):
    first, second = network(), network()
    monitor = watched(first, log_dir="same")
    other = watched(second, log_dir="same")
    assert "another monitor writes to" in caplog.text
    assert other.journal_path in caplog.text
    assert other.journal_path != monitor.journal_path
    again = watched(first, log_dir="same")
    assert again.journal_path == monitor.journal_path, "the earlier one of the same model is closed"
    for each in (monitor, again, other):
        each.close()
    third = watched(second, log_dir="same")
    assert third.journal_path == monitor.journal_path, "nobody writes there any more"
    third.close()


def test_sys_exit_in_a_forward_pass_does_not_end_measuring():
    class Leaves(Body):
        leaving = False

        def ending(self, output):
            if Leaves.leaving:
                raise SystemExit(1)
            return output

    model = Leaves()
    monitor = watched(model, every=1)
    monitor.flush()
    Leaves.leaving = True
    train(model, 5)
    assert monitor.flush(10)
    Leaves.leaving = False
    assert monitor.probe().step == 5
