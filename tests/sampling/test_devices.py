"""A model on a device, or on several: a fake one writes down what a probe asks of it, and in which thread."""

from __future__ import annotations

import torch
from torch import nn

import foldmon
from foldmon.sampling import mirror
from tests.fixtures.fake_device import DEVICES, FakeDeviceModule


def watched(monkeypatch, mlp, held_out):
    """The monitor of a model that seems to be on two devices, and their log."""
    fake = FakeDeviceModule()
    monkeypatch.setattr(torch, "xpu", fake)
    for room in ("strategies", "subject"):
        monkeypatch.setattr(f"foldmon.sampling.{room}.devices_of", lambda model: DEVICES)
    monkeypatch.setattr("foldmon.folding.undisturbed.accelerator.kind_in_use", lambda: "xpu")
    monkeypatch.setattr(fake, "set_rng_state_all", lambda states: None, raising=False)
    copy = mirror.copy_all

    def noted(targets, sources):
        fake.note("copy the weights")
        copy(targets, sources)

    monkeypatch.setattr(mirror, "copy_all", noted)

    class Noted(nn.ReLU):
        def forward(self, z):
            fake.note("pass" if not self.training else "training")
            return super().forward(z)

    mlp[1] = Noted()
    monitor = foldmon.watch(mlp, held_out, every=2, pairs=8, points=3, exporters=[])
    monitor.flush()
    fake.log.clear()
    return monitor, fake


def train(model, steps):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(steps):
        model(torch.randn(4, 8)).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()


def test_the_copy_is_measured_behind_its_event_on_every_device_beside_training(monkeypatch, mlp, held_out):
    monitor, fake = watched(monkeypatch, mlp, held_out)
    train(mlp, 2)
    monitor.flush()
    mine = [call[:2] for call in fake.log if call[2] == "MainThread"]
    assert mine == [
        ("training", ""), ("training", ""), ("copy the weights", ""),
        ("record", "main xpu:0"), ("record", "main xpu:1"),
    ], "the training thread records events, and waits for nothing"  # fmt: skip
    theirs = [call[:2] for call in fake.log if call[2] == "foldmon-sampler"]
    assert theirs[:4] == [
        ("wait", "side xpu:0 for main xpu:0"), ("wait", "side xpu:1 for main xpu:1"),
        ("enter", "side xpu:1"), ("enter", "side xpu:0"),
    ]  # fmt: skip
    assert theirs[-4:] == [
        ("synchronize", "side xpu:0"), ("synchronize", "side xpu:1"),
        ("leave", "side xpu:0"), ("leave", "side xpu:1"),
    ]  # fmt: skip
    assert set(theirs[4:-4]) == {("pass", "")}


def test_a_step_that_is_being_captured_is_not_measured(monkeypatch, mlp, held_out):
    monitor, fake = watched(monkeypatch, mlp, held_out)
    fake.capturing = True
    train(mlp, 2)
    monitor.flush()
    assert ("copy the weights", "") not in fake.calls(), "it would be replayed with the graph"
    fake.capturing = False
    train(mlp, 1)
    monitor.flush()
    assert monitor.report.step == 3, "the first step behind it has passed the multiple"
