"""A monitor that is kept where copies are made: the copies watch nothing."""

from __future__ import annotations

import copy
import pickle

import torch

import foldmon
from tests.sampling.test_watched import train


def test_a_model_that_holds_its_monitor_is_copied_saved_and_trained(mlp, held_out, tmp_path):
    mlp.monitor = foldmon.watch(mlp, held_out, every=5, exporters=[], log_dir=tmp_path)
    train(mlp, 5)
    copied = copy.deepcopy(mlp)
    torch.save(mlp, tmp_path / "model.pt")
    loaded = torch.load(tmp_path / "model.pt", weights_only=False)
    train(mlp, 5)
    assert mlp.monitor.steps == 10
    for other in (copied, loaded):
        train(other, 3)
        assert other.monitor.steps == 0
        assert other.monitor.flush()
        assert other.monitor.closed
    mlp.monitor.close()
    assert mlp.monitor.history[-1].step == 10


def test_a_trainer_that_holds_a_monitor_is_pickled(mlp, held_out, tmp_path):
    with foldmon.watch(mlp, held_out, exporters=[], log_dir=tmp_path) as monitor:
        state = pickle.loads(pickle.dumps({"monitor": monitor, "epoch": 3}))
        assert copy.copy(monitor).closed
        assert not monitor.closed
    assert state["monitor"].summary() == copy.deepcopy(monitor).summary()
