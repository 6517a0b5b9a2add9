"""Numbers of the user's own between two probes."""

import math

import torch
from torch import nn

import foldmon
from foldmon.journal.following import read_journal
from foldmon.monitor.logged import Logged


def test_the_loss_is_a_mean_and_the_rest_are_the_latest():
    logged = Logged()
    for step in range(5):
        logged.add({"loss": float(step), "val_loss": float(step), "epoch": step})
    assert logged.take() == {"loss": 2.0, "val_loss": 4.0, "epoch": 4}
    assert logged.take() == {}


def test_a_nan_loss_makes_no_mean_but_is_told_where_it_is_all_there_is():
    logged = Logged()
    for value in (math.nan, 1.0, math.nan, 2.0):
        logged.add({"loss": value})
    assert logged.take() == {"loss": 1.5}
    logged.add({"loss": math.nan})
    assert math.isnan(logged.take()["loss"])


def test_the_journal_gets_the_mean_training_loss_since_the_last_probe():
    model, data = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), torch.randn(20, 4)
    with foldmon.watch(model, data, every=10**6, exporters=[]) as monitor:
        monitor.flush()
        for loss in (4.0, 2.0, 3.0):
            monitor.log(loss=loss, rate=loss)
        monitor.probe()
        monitor.probe()
    probes = [record["logged"] for record in read_journal(monitor.journal_path) if record["kind"] == "probe"]
    assert probes[-2:] == [{"loss": 3.0, "rate": 3.0}, {}]
