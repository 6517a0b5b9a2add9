"""A training program in a process of its own; started by ``test_processes.py``."""

from __future__ import annotations

import os
import sys
import time

import torch
from torch import nn

import foldmon
from tests.faults.twin import data, network
from tests.training_loop import train


class Slow(nn.Sequential):
    """Tells when it is probed, and takes its time."""

    seconds = 0.0

    def forward(self, x):
        if not self.training:
            print("probing", flush=True)
            time.sleep(Slow.seconds)
        return super().forward(x)


def hooks_on(model: nn.Module) -> int:
    return sum(len(m._forward_pre_hooks) + len(m._forward_hooks) for m in model.modules())


def interrupted(background: str) -> None:
    """Trains until it is interrupted, in mid-probe, and goes on after it."""
    model = Slow(*network())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with foldmon.watch(model, data(), every=5, log_dir="run", background=background == "True") as monitor:
        Slow.seconds = 0.5
        try:
            train(model, 10**9, optimizer)
        except KeyboardInterrupt:
            Slow.seconds = 0.0
        assert all(module.training for module in model.modules())
        assert hooks_on(model) == 0
        monitor.flush()
        before = monitor.steps
        train(model, 10, optimizer)
        assert monitor.steps == before + 10
        assert monitor.probe().step == monitor.steps
    print("ended in order")


def killed() -> None:
    model = Slow(*network())
    foldmon.watch(model, data(), every=5, log_dir="run")
    train(model, 30)
    Slow.seconds = 0.5
    train(model, 10**9)


def interrupts_itself() -> None:
    model = network()
    foldmon.watch(model, data(), exporters=["tensorboard", imports_late], log_dir="run")
    train(model, 10)
    raise KeyboardInterrupt


def imports_late(values: dict[str, float], step: int) -> None:
    """An exporter that runs text, as many imports do."""
    exec("x = 1")


def unclosed() -> None:
    model = network()
    foldmon.watch(model, data(), every=5, log_dir="run")
    train(model, 30)


def forks() -> None:
    """Children made while the sampler runs: by hand, and by a DataLoader."""
    losses = []
    for watched in (False, True):
        torch.manual_seed(0)
        model = Slow(*network())
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        Slow.seconds = 0.0
        monitor = foldmon.watch(model, data(), every=1, log_dir="run") if watched else None
        Slow.seconds = 0.2
        losses.append(train(model, 5, optimizer))
        for _ in range(3):
            child = os.fork()
            if child == 0:
                train(model, 2, optimizer)
                if monitor is not None:
                    monitor.log(loss=1.0)
                    monitor.flush(5)
                    monitor.close()
                os._exit(0)
            assert os.waitpid(child, 0)[1] == 0
            losses[-1] += train(model, 2, optimizer)
        dataset = torch.utils.data.TensorDataset(torch.randn(32, 8))
        for (inputs,) in torch.utils.data.DataLoader(dataset, batch_size=8, num_workers=2, shuffle=True):
            loss = model(inputs).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses[-1].append(loss.item())
        if monitor is not None:
            assert monitor.steps == 15, monitor.steps
            assert monitor.flush(30)
            monitor.close()
    assert losses[0] == losses[1]
    print("ended in order")


def first_half() -> None:
    torch.manual_seed(0)
    model = network()
    optimizer = torch.optim.Adam(model.parameters())
    monitor = foldmon.watch(model, data(), every=5, background=False, log_dir="run")
    train(model, 22, optimizer)
    parts = {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "monitor": monitor.state_dict(),
    }
    torch.save(parts, "checkpoint.pt")
    # What comes after the checkpoint is lost with the process.
    train(model, 10, optimizer)


def second_half() -> None:
    parts = torch.load("checkpoint.pt", weights_only=True)
    model = network()
    model.load_state_dict(parts["model"])
    optimizer = torch.optim.Adam(model.parameters())
    optimizer.load_state_dict(parts["optimizer"])
    with foldmon.watch(model, data(), every=5, background=False, log_dir="run") as monitor:
        monitor.load_state_dict(parts["monitor"])
        assert monitor.report is None
        train(model, 20, optimizer)
        assert monitor.steps == 42


if __name__ == "__main__":
    torch.set_num_threads(1)
    globals()[sys.argv[1]](*sys.argv[2:])
