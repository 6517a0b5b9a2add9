"""What surrounds a training: defaults, modes, and what becomes of its objects."""

from __future__ import annotations

import gc
import tempfile
import weakref
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import nn

import foldmon
from foldmon.journal.following import read_journal
from tests.faults.twin import data, network
from tests.training_loop import train


@pytest.fixture
def elsewhere() -> Iterator[None]:
    """A default device on which nothing can be computed: what is made there by mistake fails."""
    with torch.device("meta"):  # torch 2.6 does not get over set_default_device(None)
        yield


@pytest.mark.parametrize("background", [True, False])
def test_a_default_device_that_is_not_the_models(background, tmp_path, request):
    model, held_out = network(), data()
    inputs, labels = torch.randn(16, 8), torch.arange(16) % 3
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    request.getfixturevalue("elsewhere")
    options = {"every": 2, "exporters": [], "log_dir": tmp_path, "background": background}
    with foldmon.watch(model, held_out, **options) as monitor:
        for _ in range(4):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(inputs), labels).backward()
            optimizer.step()
            monitor.flush()
        assert [report.step for report in monitor.history] == [0, 2, 4]
        assert monitor.probe().phi >= 0


def test_a_watch_in_inference_mode_goes_on_outside_of_it(mlp, held_out, tmp_path):
    """As from a hook of a framework that validates in inference mode."""
    with torch.inference_mode():
        monitor = foldmon.watch(mlp, held_out, every=2, exporters=[], log_dir=tmp_path)
    optimizer = torch.optim.SGD(mlp.parameters(), lr=0.1)
    for _ in range(4):
        train(mlp, 1, optimizer)
        monitor.flush()
    monitor.close()
    assert [report.step for report in monitor.history] == [0, 2, 4]


def test_a_model_is_gone_when_its_last_name_is(held_out, tmp_path):
    """Not when Python next looks for circles: the memory of a large one is needed for the next."""
    train(network(), 1)  # torch keeps what an optimizer's first step of a process was given
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    options = {"every": 2, "exporters": [], "log_dir": tmp_path}
    monitor = foldmon.watch(model, held_out, **options)
    gone = weakref.ref(model), weakref.ref(model[0])
    gc.collect()
    gc.disable()
    try:
        train(model, 5, optimizer)
        monitor.flush()
        del model, optimizer
        assert [reference() for reference in gone] == [None, None]
    finally:
        gc.enable()
        monitor.close()


def test_a_working_folder_that_is_gone(mlp, held_out, tmp_path, monkeypatch, caplog):
    folder = tmp_path / "gone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    folder.rmdir()
    with foldmon.watch(mlp, held_out, exporters=[]) as monitor:
        train(mlp, 3)
        assert monitor.flush()
    assert "the working folder no longer exists" in caplog.text
    assert len(read_journal(monitor.journal_path)) >= 2
    monkeypatch.chdir(tmp_path)


@pytest.mark.filterwarnings("error")
def test_arrays_that_cannot_be_written_to(mlp, held_out, tmp_path):
    inputs, labels = (part.numpy() for part in held_out)
    np.save(tmp_path / "inputs.npy", inputs)
    mapped = np.load(tmp_path / "inputs.npy", mmap_mode="r")
    labels.flags.writeable = False
    with foldmon.watch(mlp, (mapped, labels), exporters=[], log_dir=tmp_path) as monitor:
        assert monitor.probe().held_out.accuracy is not None
    assert not mapped.flags.writeable
    assert not labels.flags.writeable
