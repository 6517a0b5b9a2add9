"""What a forward pass moves is put back, in whatever kind of thing it is; or the model is not measured."""

from __future__ import annotations

import array
import csv
import ctypes
import io
import mmap
import queue
import tempfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import foldmon
from tests.faults.twin import data
from tests.training_loop import train


class Uses(nn.Module):
    """Moves what it holds in each forward pass."""

    def __init__(self, held: Any, move: Any) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))
        self.held, self.move = held, move

    def forward(self, x):
        self.move(self.held)
        return self.net(x)


def mapped() -> mmap.mmap:
    with tempfile.TemporaryFile() as file:
        file.write(b"\0" * 16)
        file.flush()
        return mmap.mmap(file.fileno(), 16)


def log() -> Any:
    return (Path(tempfile.mkdtemp()) / "log").open("w")


def scratch() -> Any:
    return (Path(tempfile.mkdtemp()) / "log").open("w+")


def table() -> Any:
    file = io.StringIO()
    return file, csv.writer(file)


def add_row(held: Any) -> None:
    held[1].writerow(["loss", 0.5])


def count_up(held: Any) -> None:
    held[0] += 1


def turn(held: Any) -> None:
    held.move_to_end(next(iter(held)))


def say(held: Any) -> None:
    held.write("a pass\n")
    held.flush()


def length(held: Any) -> int:
    return Path(held.name).stat().st_size


KINDS = {
    "array.array grows": (lambda: array.array("d", [1.0]), lambda a: a.append(2.0), list),
    "array.array": (lambda: array.array("i", [1]), count_up, list),
    "ctypes": (lambda: (ctypes.c_int * 2)(), count_up, list),
    "a mapped file": (mapped, count_up, bytes),
    "the order of a dict": (lambda: OrderedDict.fromkeys("abc"), turn, list),
    "an array of objects": (lambda: np.array([[1], None], dtype=object), lambda a: a[0].append(2), str),
    "a buffer of text": (io.StringIO, lambda f: f.write("a"), lambda f: (f.getvalue(), f.tell())),
    "a buffer of bytes": (lambda: io.BytesIO(b"a"), lambda f: f.write(b"b"), lambda f: f.getvalue()),
    "a table in memory": (table, add_row, lambda held: held[0].getvalue()),
    "a log": (log, say, length),
    "a file written and read": (scratch, say, lambda f: (length(f), f.tell())),
    "COO": (lambda: torch.eye(3).to_sparse(), lambda t: t.mul_(2), lambda t: t.to_dense().tolist()),
    "CSR": (lambda: torch.eye(3).to_sparse_csr(), lambda t: t.mul_(2), lambda t: t.to_dense().tolist()),
}  # fmt: skip


@pytest.mark.parametrize("background", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_it_is_put_back(kind, background, tmp_path):
    make, move, look = KINDS[kind]
    held = make()
    model = Uses(held, move)
    train(model, 2)
    before = look(held)
    with foldmon.watch(
        model, data(), every=1, exporters=[], background=background, log_dir=tmp_path
    ) as monitor:
        monitor.flush()
        assert look(held) == before
        monitor.probe()
        assert look(held) == before
        assert model.held is held
        train(model, 1)
        monitor.flush()
        move(expected := make())
        move(expected)
        move(expected)
        assert look(held) == look(expected), "training moves it on from where it was"
        monitor.close(last=0)


def test_the_counter_of_a_sparse_tensor_is_put_back(tmp_path):
    """Autograd would refuse a backward pass through what was written to."""
    model = Uses(torch.eye(3).to_sparse(), lambda t: t.mul_(1))
    with foldmon.watch(model, data(), exporters=[], log_dir=tmp_path) as monitor:
        monitor.probe()
        assert model.held._version == 0


@pytest.mark.parametrize("make", [queue.Queue, queue.PriorityQueue, queue.SimpleQueue])
def test_a_queue_that_it_fills_gets_nothing_of_a_probe(make, tmp_path):
    model = Uses(make(), lambda held: held.put(1))
    train(model, 2)
    with foldmon.watch(model, data(), every=1, exporters=[], log_dir=tmp_path) as monitor:
        train(model, 2)
        monitor.flush()
        assert [report.step for report in monitor.history] == [0, 1, 2]
    assert model.held.qsize() == 4


def test_a_queue_that_it_takes_from_is_not_touched_and_that_is_said(tmp_path, caplog):
    """What would come out is not foldmon's to take, and an empty one would be waited for."""
    model = Uses(queue.Queue(), lambda held: held.get())
    for item in range(10):
        model.held.put(item)
    train(model, 2)
    with foldmon.watch(model, data(), every=1, exporters=[], log_dir=tmp_path) as monitor:
        train(model, 2)
        monitor.flush()
    assert list(model.held.queue) == [4, 5, 6, 7, 8, 9]
    assert "which other threads may be at work on" in caplog.text


def test_an_array_of_names_is_no_reason_to_measure_in_place(tmp_path):
    model = Uses(np.array(["cat", "dog"], dtype=object), len)
    with foldmon.watch(model, data(), every=1, exporters=[], log_dir=tmp_path) as monitor:
        assert monitor._subject.background
