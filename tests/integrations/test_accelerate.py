from __future__ import annotations

import pytest
import torch
from accelerate import Accelerator
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from foldmon.integrations.accelerate import watch_accelerated
from foldmon.journal.following import read_journal
from foldmon.monitor.inert import InertMonitor


def train(accelerator, model, optimizer, steps):
    for _ in range(steps):
        inputs = torch.randn(16, 8)
        accelerator.backward(model(inputs).square().mean())
        optimizer.step()
        optimizer.zero_grad()


def steps_of(monitor):
    return [r["step"] for r in read_journal(monitor.journal_path) if r["kind"] == "probe"]


def test_folding_goes_to_the_accelerators_trackers(tmp_path, mlp, held_out):
    accelerator = Accelerator(cpu=True, log_with="tensorboard", project_dir=tmp_path)
    accelerator.init_trackers("run")
    model, optimizer = accelerator.prepare(mlp, torch.optim.Adam(mlp.parameters()))
    with watch_accelerated(accelerator, model, held_out, every=4, background=False):
        train(accelerator, model, optimizer, 8)
    accelerator.end_training()
    events = EventAccumulator(str(tmp_path / "run" / "foldmon")).Reload()
    assert [e.step for e in events.Scalars("folding/network")] == [0, 4, 8]


def test_the_state_travels_in_the_accelerators_checkpoints(tmp_path, mlp, held_out):
    accelerator = Accelerator(cpu=True)
    model, optimizer = accelerator.prepare(mlp, torch.optim.Adam(mlp.parameters()))
    options = {"every": 4, "background": False, "exporters": []}
    with watch_accelerated(accelerator, model, held_out, log_dir=tmp_path / "a", **options) as monitor:
        train(accelerator, model, optimizer, 5)
        accelerator.save_state(str(tmp_path / "state"))
        train(accelerator, model, optimizer, 2)
        accelerator.load_state(str(tmp_path / "state"))
        assert monitor.steps == 5
        train(accelerator, model, optimizer, 3)
    assert steps_of(monitor) == [0, 4, 8]


def test_other_processes_get_a_monitor_that_does_nothing(tmp_path, mlp, held_out, monkeypatch):
    accelerator = Accelerator(cpu=True)
    monkeypatch.setattr(type(accelerator), "is_main_process", property(lambda self: False))
    model, optimizer = accelerator.prepare(mlp, torch.optim.Adam(mlp.parameters()))
    with watch_accelerated(accelerator, model, held_out, log_dir=tmp_path / "a", every=1) as monitor:
        train(accelerator, model, optimizer, 3)
    assert monitor.steps == 0
    assert not (tmp_path / "a").exists()


def test_of_a_sharded_model_the_first_process_alone_exports(tmp_path, mlp, held_out, monkeypatch):
    asked = []
    monkeypatch.setattr("foldmon.integrations.accelerate.watched_here", lambda wrapped, *_: wrapped)
    monkeypatch.setattr(
        "foldmon.integrations.accelerate.watch", lambda *_, **given: asked.append(given) or InertMonitor()
    )
    for first in (True, False):
        accelerator = Accelerator(cpu=True)
        monkeypatch.setattr(type(accelerator), "is_main_process", property(lambda self, first=first: first))
        watch_accelerated(accelerator, mlp, held_out)
    assert [options["exporters"] for options in asked] == [["tensorboard", "console"], []]


def test_gradient_accumulation_counts_optimizer_steps(tmp_path, mlp, held_out):
    accelerator = Accelerator(cpu=True, gradient_accumulation_steps=2)
    model, optimizer = accelerator.prepare(mlp, torch.optim.Adam(mlp.parameters()))
    with watch_accelerated(accelerator, model, held_out, exporters=[], log_dir=tmp_path) as monitor:
        for _ in range(6):
            with accelerator.accumulate(model):
                train(accelerator, model, optimizer, 1)
    assert monitor.steps == 3


@pytest.fixture(autouse=True)
def _fresh_accelerator_state():
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)
