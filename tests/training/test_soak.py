"""The short form of tests/benchmarks/soak.py."""

from __future__ import annotations

import gc
import sys
import threading
import weakref

import pytest
import torch

import foldmon
from tests.benchmarks.soak import growth, soak


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("background", [True, False], ids=["background", "synchronous"])
def test_memory_threads_and_files_do_not_grow(background):
    taken = soak(steps=320, probes=40, samples=4, background=background)
    half = taken[1:]
    assert len({(sample.threads, sample.files) for sample in half}) == 1
    # Each report stays in monitor.history until it is full: some objects and some kilobytes a probe.
    made = half[-1].probes - half[0].probes
    assert made == 20
    assert (half[-1].objects - half[0].objects) / made < 20
    assert growth(taken) < 8


def test_watching_again_and_again_keeps_nothing(mlp, held_out):
    optimizer = torch.optim.Adam(mlp.parameters())
    copies = []
    for _ in range(5):
        monitor = foldmon.watch(mlp, held_out, every=1000, exporters=[])
        copies.append(weakref.ref(monitor._subject.strategy.replica.module))
        monitor.close()
    del monitor
    gc.collect()
    assert [copy() for copy in copies] == [None] * 5
    assert not [t for t in threading.enumerate() if t.name == "foldmon-sampler"]
    assert optimizer.state == {}
