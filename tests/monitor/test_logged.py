"""Numbers of the user's own between two probes."""

import math

import numpy as np
import pytest
import torch
from torch import nn

import foldmon
from foldmon.journal.following import read_journal
from foldmon.monitor.logged import Logged, checked


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


def test_tensors_are_read_where_they_are_taken_and_neither_warn_nor_follow_the_user(recwarn):
    logged = Logged()
    total = torch.zeros(1, requires_grad=True)
    for value in (1.0, 2.0, 6.0):
        loss = (total + value).sum()
        logged.add({"loss": checked("loss", loss), "last": checked("last", loss.bfloat16())})
        with torch.no_grad():
            loss *= 0  # as of one who adds up in place
    logged.add({"loss": 3.0})
    assert logged.take() == {"loss": 3.0, "last": 6.0}
    assert len(recwarn) == 0


def test_thousands_of_tensors_are_a_few():
    logged = Logged()
    for step in range(2000):
        logged.add({"loss": checked("loss", torch.tensor(float(step), dtype=torch.float64))})
    assert len(logged._means["loss"]._waiting) < 256
    assert logged.take() == {"loss": 999.5}


def test_tensors_that_are_not_finite_make_no_mean():
    logged = Logged()
    for value in (math.nan, 1.0, math.inf, 3.0):
        logged.add({"loss": checked("loss", torch.tensor(value))})
    assert logged.take() == {"loss": 2.0}
    logged.add({"loss": checked("loss", torch.tensor(math.nan))})
    assert math.isnan(logged.take()["loss"])


def test_logging_a_loss_reads_no_tensor(monkeypatch):
    """What a GPU would be waited for: ``item``, ``float``, ``tolist`` and ``cpu`` in the training thread."""

    def waits(*_):
        raise AssertionError("training would wait")

    logged = Logged()
    with monkeypatch.context() as patched:
        for name in ("item", "__float__", "__bool__", "tolist", "cpu", "numpy"):
            patched.setattr(torch.Tensor, name, waits)
        logged.add({"loss": checked("loss", torch.tensor(2.0, requires_grad=True))})
    assert logged.take() == {"loss": 2.0}


@pytest.mark.parametrize(
    "value",
    [2, 2.0, np.float32(2), np.array(2), np.array([2.0]), torch.tensor([2]), torch.tensor(2.0).half()],
)
def test_any_single_number_is_taken(value, recwarn):
    logged = Logged()
    logged.add({"loss": checked("loss", value), "rate": checked("rate", value)})
    assert logged.take() == {"loss": 2.0, "rate": 2.0}
    assert len(recwarn) == 0


@pytest.mark.parametrize(
    "value",
    [
        None,
        "0.5",
        [1.0],
        np.zeros(2),
        torch.zeros(2),
        torch.zeros(()).cfloat(),
        torch.zeros((), device="meta"),
    ],
)
def test_what_is_no_single_number_is_said(value):
    with pytest.raises(TypeError, match="takes single numbers; rate is"):
        checked("rate", value)
