"""Training that goes past a monitor is said once, soon, and at its end."""

from __future__ import annotations

import copy
import logging
import time

import pytest
import torch
from torch import nn

import foldmon
from foldmon.sampling import silence
from tests.sampling.test_watched import train

WAY_OUT = "pass its optimizer="


def said(caplog) -> list[str]:
    return [record.getMessage() for record in caplog.records if WAY_OUT in record.getMessage()]


@pytest.fixture
def monitor(mlp, held_out, tmp_path):
    return foldmon.watch(mlp, held_out, every=1000, exporters=[], log_dir=tmp_path)


def test_a_model_that_the_framework_replaced_by_a_copy(mlp, monitor, caplog):
    train(copy.deepcopy(mlp), 90)
    assert not said(caplog)
    train(copy.deepcopy(mlp), 200)
    assert len(said(caplog)) == 1
    assert "100 steps of optimizers that own none of its parameters" in said(caplog)[0]
    monitor.close()
    assert len(said(caplog)) == 2


def test_a_model_replaced_in_the_middle_of_its_training(mlp, monitor, caplog):
    train(mlp, 150)
    train(copy.deepcopy(mlp), 149)
    assert not said(caplog)
    train(copy.deepcopy(mlp), 10)
    assert "since its step 150" in said(caplog)[0]
    monitor.close()
    assert len(said(caplog)) == 1


def test_models_that_train_in_turns_are_not_silent(mlp, monitor, caplog):
    own, critic = torch.optim.SGD(mlp.parameters(), 0.1), nn.Linear(8, 3)
    other = torch.optim.SGD(critic.parameters(), 0.1)
    for _ in range(8):
        train(critic, 50, other)
        train(mlp, 1, own)
    monitor.close()
    assert not said(caplog)


def test_weights_that_change_without_a_step(mlp, held_out, tmp_path, caplog, monkeypatch):
    """As in the parent of processes that train shared weights, or with an optimizer of the user's own."""
    for pause in ("_FIRST", "_NEXT", "_SURE"):
        monkeypatch.setattr(silence, pause, 0.05)
    foldmon.watch(mlp, held_out, every=1000, exporters=[], log_dir=tmp_path)
    with torch.no_grad():
        mlp[0].weight += 1
    for _ in range(600):
        time.sleep(0.05)
        if said(caplog):
            break
    assert "the weights change" in said(caplog)[0]


def test_who_only_looks_hears_nothing(mlp, monitor, caplog):
    monitor.probe()
    monitor.close()
    assert not said(caplog)


def test_a_run_that_fails_before_its_first_step_hears_of_its_error_only(monitor, caplog):
    caplog.set_level(logging.WARNING)
    with pytest.raises(KeyError), monitor:
        raise KeyError
    assert not said(caplog)
