"""Warnings as the user sees them: callback, list, log, flag, journal."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import torch
from torch import nn

import foldmon
from foldmon.journal.following import read_journal
from foldmon.warning.alarm import Alarm
from tests.training_loop import train


@pytest.fixture
def broken_run(mlp, held_out):
    """A run whose weights become NaN: the one degradation that needs no statistics."""
    heard = []
    monitor = foldmon.watch(
        mlp,
        held_out,
        every=1,
        exporters=[],
        on_warning=lambda w: heard.append((w, threading.current_thread())),
    )
    optimizer = torch.optim.SGD(mlp.parameters(), lr=1e-3)
    train(mlp, 3, optimizer)
    nn.init.constant_(mlp[0].weight, float("nan"))
    monitor.flush()
    train(mlp, 1, optimizer)
    monitor.flush()
    return monitor, optimizer, mlp, heard


def test_the_callback_is_called_once_in_the_training_thread(broken_run):
    monitor, optimizer, model, heard = broken_run
    assert heard == [], "the warning waits for the next step"
    train(model, 3, optimizer)
    [(warning, thread)] = heard
    assert thread is threading.current_thread()
    assert warning.severity == 2
    assert "NaN" in warning.reasons[0]
    assert monitor.warnings == [warning]


def test_the_flag_the_log_and_the_journal_say_it_too(broken_run, caplog):
    monitor, *_ = broken_run
    assert monitor.should_stop
    monitor.close()
    events = [r["warning"]["event"] for r in read_journal(monitor.journal_path) if r["kind"] == "probe"]
    [event] = [event for event in events if event is not None]
    assert event["severity"] == 2
    assert event["step"] == monitor.warnings[0].step


def test_the_flag_stays_when_the_episode_ends():
    """Who looks after every epoch must not miss what came and went in between."""
    alarm = Alarm()
    sound: Any = {"step": 10, "phi": 0.1, "layers": ["act"], "nonfinite": [0]}
    assert alarm.look(sound)["level"] == 0
    assert not alarm.should_stop
    assert alarm.look({**sound, "step": 11, "nonfinite": [3]})["level"] == 2
    assert alarm.should_stop
    assert alarm.look({**sound, "step": 12})["level"] == 0
    assert alarm.should_stop


def test_who_goes_back_to_a_checkpoint_is_not_told_of_what_came_after_it():
    told: list[Any] = []
    alarm = Alarm(told.append)
    broken: Any = {"step": 11, "phi": 0.1, "layers": ["act"], "nonfinite": [3]}
    state = alarm.state_dict()
    alarm.look(broken)
    alarm.load_state_dict(state)
    alarm.tell()
    assert told == alarm.warnings == []
    alarm.look(broken)
    alarm.tell()
    assert [warning.step for warning in told] == [11]


def test_a_healthy_start_raises_no_flag(mlp, held_out):
    monitor = foldmon.watch(mlp, held_out, every=1, exporters=[])
    train(mlp, 20)
    monitor.flush()
    assert not monitor.should_stop
    assert monitor.warnings == []


def test_a_failing_callback_does_not_reach_training(mlp, held_out, caplog):
    def fail(warning):
        raise OSError("no room for a checkpoint")

    monitor = foldmon.watch(mlp, held_out, every=1, exporters=[], on_warning=fail)
    monitor.flush()
    nn.init.constant_(mlp[0].weight, float("nan"))
    monitor.probe()
    train(mlp, 2)
    assert "no room for a checkpoint" in caplog.text


def test_the_warning_state_survives_a_restart(broken_run, held_out):
    monitor, _, model, _ = broken_run
    state = monitor.state_dict()
    monitor.close()
    resumed = foldmon.watch(model, held_out, every=1000, exporters=[])
    resumed.load_state_dict(state)
    assert resumed.should_stop
    resumed.probe()
    assert resumed.warnings == monitor.warnings, "the episode is known already"


def test_a_run_of_which_nothing_is_followed_is_resumed(held_out):
    """A network that is no classifier, without a loss= that would tell how well it does."""
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 5), nn.ReLU())
    with foldmon.watch(model, held_out[0], every=1, exporters=[], samples=0) as monitor:
        monitor.flush()
        state = monitor.state_dict()
    with foldmon.watch(model, held_out[0], every=1000, exporters=[], samples=0) as resumed:
        resumed.load_state_dict(state)
        assert resumed.steps == state["step"]


def test_the_run_can_be_plotted_and_shown_in_a_notebook(mlp, held_out):
    monitor = foldmon.watch(mlp, held_out, every=1000, exporters=[])
    monitor.flush()
    monitor.plot().savefig("folding.png")
    assert f"{monitor.report.phi:.4f}" in monitor._repr_html_()
