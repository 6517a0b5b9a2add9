"""What one rank does; started by torchrun in ``test_distributed.py``."""

from __future__ import annotations

import logging
import os
import sys
from datetime import timedelta

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor.parallel import ColwiseParallel, parallelize_module
from torch.nn.parallel import DistributedDataParallel

import foldmon
from foldmon.journal.following import read_journal
from foldmon.sampling import team as distributed


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(8, 64),
        nn.ReLU(),
        nn.Linear(64, 64),
        nn.BatchNorm1d(64),
        nn.ReLU(),
        nn.Linear(64, 64),
        nn.ReLU6(),
        nn.Linear(64, 3),
    )


def held_out(rank: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Every rank has data of its own: those of the first count."""
    inputs = torch.randn(60, 8, generator=torch.Generator().manual_seed(100 + rank))
    inputs[0, 0] = float("nan")
    return inputs, torch.arange(60) % 3


def train(model: nn.Module, steps: int, each_step=None, optimizer=None) -> list[float]:
    generator = torch.Generator().manual_seed(1 + dist.get_rank())
    optimizer = optimizer or torch.optim.SGD(model.parameters(), lr=0.05)
    losses = []
    for step in range(steps):
        inputs = torch.randn(16, 8, generator=generator)
        loss = nn.functional.cross_entropy(model(inputs), (inputs.sum(1) > 0).long())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        if each_step is not None:
            each_step(step)
    return losses


def whole(model: nn.Module) -> dict[str, torch.Tensor]:
    """The weights, gathered where they are sharded."""
    return {
        name: value.full_tensor() if hasattr(value, "full_tensor") else value.clone()
        for name, value in model.state_dict().items()
    }


def assert_same(report: foldmon.FoldingReport, alone: foldmon.FoldingReport) -> None:
    for name in ("r1", "r2", "r1_cumulative", "nonfinite", "dead", "saturated"):
        np.testing.assert_array_equal(getattr(report, name), getattr(alone, name), err_msg=name)
    for name in ("changes", "elsewhere", "ends"):
        np.testing.assert_array_equal(getattr(report.decision, name), getattr(alone.decision, name))
    ours, theirs = report.to_dict(), alone.to_dict()
    for name in ("seconds", "evaluations", "step"):
        ours.pop(name), theirs.pop(name)
    assert str(ours) == str(theirs)


def as_first_saves_it(trained: nn.Module) -> nn.Module:
    """A plain model with the first rank's checkpoint: running statistics differ from rank to rank."""
    box = [whole(trained)]
    dist.broadcast_object_list(box)
    model = network()
    model.load_state_dict({name.removeprefix("module."): value for name, value in box[0].items()})
    return model


def check_training(wrap, pairs: int) -> None:
    """Training is the same bit for bit, and every probe what one process alone measures."""
    reference = wrap(network())
    losses = train(reference, 12)
    model = wrap(network())
    rank = dist.get_rank()
    log_dir = f"run-{wrap.__name__}-{pairs}"
    monitor = foldmon.watch(
        model, held_out(rank), every=4, pairs=pairs, exporters=["tensorboard"], log_dir=log_dir
    )

    def compare(step: int) -> None:
        if (step + 1) % 4 == 0:
            drawn = foldmon.draw_pairs(held_out(), pairs)
            assert monitor.report is not None
            assert monitor.report.step == step + 1
            assert_same(monitor.report, foldmon.measure(as_first_saves_it(model), drawn))

    assert train(model, 12, compare) == losses
    for name, value in whole(reference).items():
        assert torch.equal(value, whole(model)[name]), name
    assert_same(monitor.probe(), monitor.report)
    monitor.close()
    if rank == 0:
        steps = [r["step"] for r in read_journal(monitor.journal_path) if r["kind"] == "probe"]
        assert steps == [0, 4, 8, 12, 12], steps
        assert monitor.journal_path == f"{log_dir}/foldmon/journal.jsonl"
    else:
        assert monitor.journal_path == os.devnull


def replicated(model: nn.Module) -> nn.Module:
    return DistributedDataParallel(model)


def sharded(model: nn.Module) -> nn.Module:
    for module in (model[0], model[2], model[5]):
        fully_shard(module)
    return fully_shard(model)


def same() -> None:
    # Uneven shares, fewer pairs than ranks, and equal shares.
    for pairs in (25, 3):
        check_training(replicated, pairs)
    check_training(sharded, 8)


def adaptive() -> None:
    model = replicated(network())
    monitor = foldmon.watch(model, held_out(), budget=0.2, exporters=[], log_dir="adaptive")
    steps: list[int] = []

    def note(_: int) -> None:
        if monitor.report is not None and (not steps or steps[-1] != monitor.report.step):
            steps.append(monitor.report.step)

    train(model, 300, note)
    everywhere: list = [None] * dist.get_world_size()
    dist.all_gather_object(everywhere, steps)
    assert all(seen == steps for seen in everywhere), everywhere
    assert len(steps) >= 3, steps
    monitor.close()


def refused() -> None:
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    parallel = parallelize_module(network(), mesh, {"0": ColwiseParallel()})
    for model, data, options, message in (
        (parallel, held_out(), {}, "tensor-parallel"),
        (sharded(network()), held_out(), {"pairs": 9}, "pass a multiple"),
        (replicated(network()), torch.empty(0, 8), {}, "empty"),
        (replicated(network()), held_out(), {"exporters": "tensorbord"}, "did you mean 'tensorboard'"),
        (replicated(network()), held_out(), {"layers": ["2"]}, "unknown layer"),
        (replicated(network()), held_out(), {"method": "exact"}, "are sampled"),
    ):
        with pytest.raises(ValueError, match=message):
            foldmon.watch(model, data, **{"exporters": [], "log_dir": "refused", **options})


def one_rank_fails() -> None:
    """A forward pass that fails on one rank is reported by all, and measuring goes on together."""

    class Moody(nn.ReLU):
        broken = False

        def forward(self, x):
            if Moody.broken and not self.training:
                raise ValueError("not in the mood")
            return super().forward(x)

    model = network()
    model[1] = Moody()
    model = replicated(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    monitor = foldmon.watch(model, held_out(), every=1, exporters=[], log_dir="moody")
    Moody.broken = dist.get_rank() == 1
    train(model, 3, optimizer=optimizer)
    assert monitor.report.step == 0
    Moody.broken = False
    train(model, 8, optimizer=optimizer)
    assert monitor.report.step > 3
    monitor.close()


def dies() -> None:
    distributed.TIMEOUT = timedelta(seconds=5)
    model = replicated(network())
    monitor = foldmon.watch(model, held_out(), every=5, exporters=[], log_dir="dies")

    def die(step: int) -> None:
        if dist.get_rank() == 1 and step == 6:
            os._exit(0)
        if dist.get_rank() == 0 and step == 6:
            try:
                monitor.probe()
            except distributed.TeamError as error:
                print(f"TEAM ERROR {error}", flush=True)

    train(model, 20, die)


def not_everywhere() -> None:
    distributed.TIMEOUT = timedelta(seconds=3)
    model = replicated(network())
    if dist.get_rank() == 0:
        try:
            foldmon.watch(model, held_out(), exporters=[])
        except distributed.TeamError as error:
            print(f"TEAM ERROR {error}", flush=True)
    dist.barrier()


if __name__ == "__main__":
    logging.basicConfig()
    torch.set_num_threads(1)
    dist.init_process_group("gloo", timeout=timedelta(seconds=20))
    for scenario in sys.argv[1:]:
        globals()[scenario]()
        print(f"{scenario} done on rank {dist.get_rank()}", flush=True)
    dist.destroy_process_group()
