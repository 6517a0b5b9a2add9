"""Training and probes share a device: order of copy and measuring, memory, loaders, cost, several ranks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import foldmon
from foldmon.folding.undisturbed.accelerator import free_bytes, module_of
from tests.gpu.tasks import images, network, step


def slow_kernels(device: torch.device, rounds: int = 200) -> None:
    """Work that keeps the training stream busy for a while after it was launched."""
    a = torch.ones(2048 if device.type != "cpu" else 16, 2048, device=device)
    for _ in range(rounds):
        a = (a @ a.T @ a).clamp(-1, 1)


def test_the_probe_measures_the_weights_of_its_step_though_the_device_is_behind(device):
    """A slow kernel stands before the copy, and the weights are overwritten right behind it."""
    torch.manual_seed(0)
    model = network().to(device).eval()
    data = images(48, 2)
    drawn = foldmon.draw_pairs(data, 8)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    with foldmon.watch(model, data, every=1, pairs=8, points=9, exporters=[]) as monitor:
        monitor.flush()
        for _ in range(3):
            step(model, *(part.to(device) for part in images(16, 1)))
            slow_kernels(device)
            optimizer.step()
            wanted = {name: value.clone() for name, value in model.state_dict().items()}
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter.add_(1.0)  # behind the copy
            monitor.flush()
            alone = network().to(device)
            alone.load_state_dict(wanted)
            np.testing.assert_array_equal(monitor.report.r2, foldmon.measure(alone, drawn, points=9).r2)
            model.load_state_dict(wanted)
            optimizer.zero_grad()


def test_the_training_thread_launches_and_does_not_wait(device):
    """Counted by torch itself, which raises where a call waits for the device."""
    if device.type != "cuda":
        pytest.skip("only CUDA tells of calls that wait")
    model = network().to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    x, y = (part.to(device) for part in images(16, 1))
    with foldmon.watch(model, images(48, 2), every=1, pairs=8, points=9, exporters=[]) as monitor:
        step(model, x, y)
        optimizer.step()
        monitor.flush()
        probes = len(monitor.history)
        torch.cuda.set_sync_debug_mode("error")
        try:
            # The mode is the process's: nothing is measured beside this step, only begun.
            with monitor._measuring:
                step(model, x, y)
                optimizer.step()
        finally:
            torch.cuda.set_sync_debug_mode("default")
        monitor.flush()
        assert len(monitor.history) > probes


def test_where_memory_is_short_the_probe_gives_way_and_training_goes_on(device):
    free = free_bytes(device)
    if free is None:
        pytest.skip("torch cannot tell what is free")
    model = network().to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    monitor = foldmon.watch(model, images(48, 2), every=1, pairs=8, points=9, exporters=[])
    monitor.flush()
    x, y = (part.to(device) for part in images(16, 1))
    step(model, x, y)
    optimizer.step()
    monitor.flush()
    held = []
    while (free := free_bytes(device)) > 64 * 2**20:
        held.append(torch.empty(max(free // 2, 2**20), dtype=torch.uint8, device=device))
    for _ in range(6):
        step(model, x, y)
        optimizer.step()
    monitor.flush()
    held.clear()
    module_of(device.type).empty_cache()
    monitor._guard.resume_at = 0.0
    step(model, x, y)
    optimizer.step()
    monitor.flush()
    assert monitor.report.step == monitor.steps, "measuring goes on where it can"
    monitor.close()


@pytest.mark.parametrize("workers", [0, 2])
def test_pinned_loaders_with_workers(device, workers):
    pinned = device.type != "cpu"
    loader = DataLoader(
        TensorDataset(*images(64, 1)), batch_size=16, num_workers=workers, pin_memory=pinned,
        persistent_workers=workers > 0,
    )  # fmt: skip
    model = network().to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    held_out = DataLoader(
        TensorDataset(*images(48, 2)), batch_size=16, num_workers=workers, pin_memory=pinned
    )
    with foldmon.watch(model, held_out, every=2, pairs=8, points=9, exporters=[]) as monitor:
        for _ in range(2):
            for x, y in loader:
                step(model, x.to(device, non_blocking=True), y.to(device, non_blocking=True))
                optimizer.step()
                optimizer.zero_grad()
    assert monitor.report.step == 8


@pytest.mark.parametrize("width", [64, 4096])
def test_the_cost_keeps_to_the_contract(kind, device, width):
    """With small steps and with large ones, at the defaults."""
    if kind == "cpu":
        width = min(width, 256)
    model = nn.Sequential(*(m for _ in range(4) for m in (nn.Linear(width, width), nn.ReLU()))).to(device)
    model.append(nn.Linear(width, 4).to(device))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    x, y = torch.randn(256, width, device=device), torch.arange(256, device=device) % 4
    held_out = torch.randn(256, width), torch.arange(256) % 4
    with foldmon.watch(model, held_out, exporters=[]) as monitor:
        for _ in range(400):
            step(model, x, y)
            optimizer.step()
            optimizer.zero_grad()
    seconds = monitor._contract.cost / max(monitor.overhead, 1e-9)
    assert monitor._contract.cost <= 1.1 * (0.01 * seconds + 1.0)
    assert len(monitor.history) > 2


def test_all_ranks_of_this_machine(kind):
    module = module_of(kind)
    count = 2 if module is None else module.device_count()
    worker = Path(__file__).with_name("worker.py")
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        f"--nproc-per-node={count}",
        str(worker),
        kind,
    ]
    run = subprocess.run(
        command, capture_output=True, text=True, timeout=200, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    assert run.returncode == 0, run.stderr[-4000:]
    assert run.stdout.count("done on rank") == count
