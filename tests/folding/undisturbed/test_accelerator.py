"""The words for accelerators, on a fake one: order of streams and events, memory, random states."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import foldmon
from foldmon.folding.model.memory import TooLittleMemoryError
from foldmon.folding.model.prober import Prober
from foldmon.folding.undisturbed import accelerator
from foldmon.folding.undisturbed.accelerator import Marks, SideStreams
from foldmon.folding.undisturbed.random_state import drew, random_state
from tests.fixtures.fake_device import DEVICES, FakeDeviceModule


@pytest.fixture
def fake(monkeypatch) -> FakeDeviceModule:
    module = FakeDeviceModule()
    monkeypatch.setattr(torch, "xpu", module)
    return module


def test_work_beside_training_waits_for_what_training_launched_on_every_device(fake):
    streams = SideStreams(DEVICES)
    marks = Marks(DEVICES)
    fake.note("training goes on")
    with streams.behind(marks):
        fake.note("measure")
    assert fake.calls() == [
        ("record", "main xpu:0"),
        ("record", "main xpu:1"),
        ("training goes on", ""),
        ("wait", "side xpu:0 for main xpu:0"),
        ("wait", "side xpu:1 for main xpu:1"),
        ("enter", "side xpu:1"),
        ("enter", "side xpu:0"),  # last: the first device is the thread's current one
        ("measure", ""),
        ("synchronize", "side xpu:0"),
        ("synchronize", "side xpu:1"),
        ("leave", "side xpu:0"),
        ("leave", "side xpu:1"),
    ]


def test_every_probe_runs_on_the_same_streams(fake):
    streams = SideStreams(DEVICES)
    for _ in range(5):
        with streams.behind(Marks(DEVICES)):
            pass
    assert fake.Stream.made == 2


def test_a_probe_that_fails_is_waited_for_too(fake):
    streams = SideStreams(DEVICES[:1])
    with pytest.raises(ZeroDivisionError), streams.behind(Marks(DEVICES[:1])):
        _ = 1 / 0
    assert ("synchronize", "side xpu:0") in fake.calls()


def test_devices_without_streams_run_in_the_order_of_the_calls(monkeypatch):
    class WithoutStreams:
        __name__ = "torch.mps"

    monkeypatch.setattr(torch, "mps", WithoutStreams())
    with SideStreams([torch.device("mps")]).behind(Marks([torch.device("mps")])):
        pass


def test_on_the_cpu_nothing_is_ordered(mlp):
    assert accelerator.devices_of(mlp) == []
    with SideStreams([]).behind(Marks([])):
        pass


def test_random_states_of_all_devices_are_kept_and_compared(fake, monkeypatch):
    monkeypatch.setattr(accelerator, "kind_in_use", lambda: "xpu")
    put_back = []
    fake.set_rng_state_all = put_back.append
    before = random_state()
    assert [state.item() for state in before["devices"]] == [0, 1]
    assert not drew(before)
    fake.get_rng_state_all = lambda: [torch.zeros(1), torch.zeros(1)]
    assert drew(before), "the second device's generator has moved"
    accelerator.set_generator_states(before["devices"])
    assert [state.item() for state in put_back[0]] == [0, 1]


def test_a_device_that_is_not_in_use_is_not_asked(fake):
    fake.is_initialized = lambda: False
    fake.get_rng_state_all = lambda: pytest.fail("it would begin to be used")
    assert accelerator.kind_in_use() is None
    assert random_state()["devices"] == []


@pytest.fixture
def wide() -> tuple[nn.Module, tuple[torch.Tensor, torch.Tensor]]:
    return nn.Sequential(nn.Linear(8, 2**16), nn.ReLU()), (torch.randn(64, 8), torch.randn(64, 8))


def test_a_probe_takes_at_most_a_quarter_of_the_free_memory(fake, monkeypatch, wide):
    model, pairs = wide
    monkeypatch.setattr("foldmon.folding.model.memory._TARGET_BYTES", {})
    free = [2**40]
    monkeypatch.setattr("foldmon.folding.undisturbed.accelerator.free_bytes", lambda device: free[0])
    prober = Prober(model, foldmon.Pairs(*pairs))
    a_row = prober._found.bytes_a_row
    assert prober.rows_at_once == 256 * 2**20 // a_row, "the target where there is plenty"
    plenty = foldmon.measure(model, pairs, points=5)
    free[0] = 2**24
    with prober.active():
        assert 4 * a_row * prober.rows_at_once <= 2**24 / 4
    found = foldmon.measure(model, pairs, points=5)
    np.testing.assert_array_equal(found.r2, plenty.r2)
    free[0] = 2**18
    with pytest.raises(TooLittleMemoryError, match="takes at most 25%"), prober.active():
        pass
    free[0] = 2**40
    with prober.active():
        assert prober.rows_at_once > 2**20 // a_row, "what was short is asked for again"


def test_free_memory_is_the_devices_own(fake):
    fake.free = 12345
    assert accelerator.free_bytes(DEVICES[1]) == 12345
    assert accelerator.free_bytes(torch.device("cpu")) is None
