"""What one rank does; started by torchrun in ``test_distributed.py``."""

from __future__ import annotations

import importlib.util
import logging
import os
import sys
import time
from collections.abc import Callable
from datetime import timedelta

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FullyShardedDataParallel, ShardingStrategy, fully_shard
from torch.distributed.fsdp.wrap import ModuleWrapPolicy
from torch.distributed.tensor import Replicate, Shard
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    PrepareModuleOutput,
    RowwiseParallel,
    SequenceParallel,
    parallelize_module,
)
from torch.nn.parallel import DistributedDataParallel

import foldmon
from foldmon.folding.data.drawing import draw_panel
from foldmon.folding.held_out import HeldOutPanel
from foldmon.folding.model.prober import Prober
from foldmon.journal.following import read_journal
from foldmon.sampling import team


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


def train(
    model: nn.Module, steps: int, each_step=None, optimizer=None, place: int | None = None
) -> list[float]:
    """Steps on the data of a place; by default every rank has its own."""
    generator = torch.Generator().manual_seed(1 + (dist.get_rank() if place is None else place))
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
    if isinstance(model, FullyShardedDataParallel):
        with FullyShardedDataParallel.summon_full_params(model, writeback=False):
            return {
                name.replace("_fsdp_wrapped_module.", ""): value.detach().clone()
                for name, value in (*model.named_parameters(), *model.named_buffers())
            }
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
    for name in ("seconds", "evaluations", "step", "held_out"):
        ours.pop(name), theirs.pop(name)
    assert str(ours) == str(theirs)


def as_first_saves_it(trained: nn.Module, make=network) -> nn.Module:
    """A plain model with the first rank's checkpoint: running statistics differ from rank to rank."""
    box = [whole(trained)]
    dist.broadcast_object_list(box)
    model = make()
    model.load_state_dict({name.removeprefix("module."): value for name, value in box[0].items()})
    return model


def assert_same_predictions(report: foldmon.FoldingReport, alone: nn.Module, pairs: int, data) -> None:
    drawn, inputs = draw_panel(data, pairs, 512)
    predicted = HeldOutPanel(inputs).predict(Prober(alone, drawn), np.arange(len(inputs)))
    assert report.held_out.measured is None
    assert report.held_out.inputs == len(inputs) == 60
    losses = report.held_out.predictions.losses
    np.testing.assert_allclose(np.sort(losses), np.sort(predicted.losses), rtol=1e-4)


def check_training(wrap, pairs: int, make=network, data=held_out, place: int | None = None) -> None:
    """Training is the same bit for bit, and every probe what one process alone measures."""
    reference = wrap(make())
    losses = train(reference, 12, place=place)
    model = wrap(make())
    rank = dist.get_rank()
    log_dir = f"run-{wrap.__name__}-{pairs}"
    monitor = foldmon.watch(
        model, data(rank), every=4, pairs=pairs, exporters=["tensorboard"], log_dir=log_dir
    )

    def compare(step: int) -> None:
        if (step + 1) % 4 == 0:
            drawn = foldmon.draw_pairs(data(), pairs)
            assert monitor.report is not None
            assert monitor.report.step == step + 1
            alone = as_first_saves_it(model, make)
            assert_same(monitor.report, foldmon.measure(alone, drawn))
            assert_same_predictions(monitor.report, alone, pairs, data())

    assert train(model, 12, compare, place=place) == losses
    for name, value in whole(reference).items():
        assert torch.equal(value, whole(model)[name]), name
    assert_same(monitor.probe(), monitor.report)
    monitor.close()
    if rank == 0:
        steps = [r["step"] for r in read_journal(monitor.journal_path) if r["kind"] == "probe"]
        assert steps == [0, 4, 8, 12, 12], steps
        assert monitor.journal_path.endswith(f"{log_dir}/foldmon/journal.jsonl")
    else:
        assert monitor.journal_path == os.devnull


def replicated(model: nn.Module) -> nn.Module:
    return DistributedDataParallel(model)


def sharded(model: nn.Module) -> nn.Module:
    for module in (model[0], model[2], model[5]):
        fully_shard(module)
    return fully_shard(model)


def sharded_by_wrapper(model: nn.Module) -> nn.Module:
    return FullyShardedDataParallel(model, auto_wrap_policy=ModuleWrapPolicy({nn.Linear}), device_id="cpu")


def hybrid(model: nn.Module) -> nn.Module:
    mesh = init_device_mesh("cpu", (2, dist.get_world_size() // 2), mesh_dim_names=("copies", "shards"))
    for module in (model[0], model[2], model[5]):
        fully_shard(module, mesh=mesh)
    return fully_shard(model, mesh=mesh)


def hybrid_by_wrapper(model: nn.Module) -> nn.Module:
    mesh = init_device_mesh("cpu", (2, dist.get_world_size() // 2), mesh_dim_names=("copies", "shards"))
    return FullyShardedDataParallel(
        model, auto_wrap_policy=ModuleWrapPolicy({nn.Linear}), device_mesh=mesh, device_id="cpu",
        sharding_strategy=ShardingStrategy.HYBRID_SHARD,
    )  # fmt: skip


_BY_UNITS = {"0": ColwiseParallel(), "2": RowwiseParallel(), "5": ColwiseParallel(), "7": RowwiseParallel()}


def parallel(model: nn.Module) -> nn.Module:
    return parallelize_module(model, init_device_mesh("cpu", (dist.get_world_size(),)), _BY_UNITS)


def parallel_and(spread: Callable[..., nn.Module]) -> Callable[[nn.Module], nn.Module]:
    """Tensor parallel by pairs of ranks; over the pairs ``spread``, which is of FSDP2's make."""

    def wrap(model: nn.Module) -> nn.Module:
        mesh = init_device_mesh("cpu", (dist.get_world_size() // 2, 2), mesh_dim_names=("data", "units"))
        parallelize_module(model, mesh["units"], _BY_UNITS)
        for module in (model[0], model[2], model[5]):
            spread(module, mesh=mesh["data"])
        return spread(model, mesh=mesh["data"])

    wrap.__name__ = f"parallel_and_{spread.__name__}"
    return wrap


class Sequences(nn.Module):
    """Eight numbers in a row, read as a sequence of four."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.norm, self.up, self.down = nn.LayerNorm(2), nn.Linear(2, 16), nn.Linear(16, 6)
        self.act, self.gate, self.out = nn.ReLU(), nn.ReLU(), nn.Linear(6, 3)
        self.split = nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.down(self.act(self.up(self.norm(self.split(x.reshape(len(x), 4, 2))))))
        return self.out(self.gate(h)).mean(1)


def sequence_parallel(model: nn.Module) -> nn.Module:
    return parallelize_module(
        model,
        init_device_mesh("cpu", (dist.get_world_size(),)),
        {
            "split": PrepareModuleOutput(output_layouts=Replicate(), desired_output_layouts=Shard(1)),
            "norm": SequenceParallel(),
            "up": ColwiseParallel(input_layouts=Shard(1)),
            "down": RowwiseParallel(output_layouts=Shard(1)),
            "out": ColwiseParallel(input_layouts=Shard(1), output_layouts=Replicate()),
        },
    )


def same() -> None:
    # Uneven shares, fewer pairs than ranks, and equal shares.
    for pairs in (25, 3):
        check_training(replicated, pairs)
    for pairs in (8, 9):
        check_training(sharded, pairs)


def wrapped() -> None:
    check_training(sharded_by_wrapper, 9)


def by_units() -> None:
    check_training(parallel, 9, place=0)
    check_training(sequence_parallel, 5, make=Sequences, data=finite, place=0)


def in_two_dimensions() -> None:
    check_training(hybrid, 9)
    check_training(hybrid_by_wrapper, 9)
    spreads = [fully_shard]
    if importlib.util.find_spec("torch.distributed._composable.replicate_with_fsdp") is not None:
        from torch.distributed._composable.replicate_with_fsdp import replicate

        spreads.append(replicate)
    for spread in spreads:
        check_training(parallel_and(spread), 9, place=dist.get_rank() // 2)


def finite(rank: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    inputs, labels = held_out(rank)
    return inputs.nan_to_num(), labels


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
    for model, data, options, message in (
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
    """The others learn it within their patience, and train on where training itself can."""
    team.PATIENCE = 1.0
    model = replicated(network())
    monitor = foldmon.watch(model, held_out(), every=5, exporters=[], log_dir="dies")
    train(model, 6)
    if dist.get_rank() == 1:
        os._exit(0)
    with pytest.raises(team.LateError, match=r"the ranks \[1\] were not there"):
        monitor.probe()
    train(model.module, 100)
    assert monitor._guard.ended, "nobody is waited for any more"
    assert monitor.report.step == 5
    monitor.close()
    os._exit(0)  # the run's own group cannot be ended without the other rank


def is_slow() -> None:
    """A rank that comes too late costs all of them this probe, and only this one."""
    team.PATIENCE = 1.0
    model = replicated(network())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    monitor = foldmon.watch(model, held_out(), every=5, exporters=[], log_dir="slow")
    train(model, 4, optimizer=optimizer)
    if dist.get_rank() == 1:
        optimizer.register_step_pre_hook(lambda *_: time.sleep(3 if monitor.steps == 4 else 0))
    train(model, 2, optimizer=optimizer)
    assert monitor.report.step == 0
    train(model, 24, optimizer=optimizer)
    assert monitor.report.step > 5
    steps = [report.step for report in monitor.history]
    everywhere: list = [None, None]
    dist.all_gather_object(everywhere, steps)
    assert everywhere == [steps, steps]
    monitor.close()


def leaves() -> None:
    """One that closes its monitor is not waited for."""
    team.PATIENCE = 1000.0
    model = replicated(network())
    monitor = foldmon.watch(model, held_out(), every=5, exporters=[], log_dir="leaves")
    train(model, 6)
    if dist.get_rank() == 1:
        monitor.close(last=0)
    train(model, 14)
    assert monitor.report.step == 5
    assert monitor.closed or monitor._guard.ended
    monitor.close()


def ends() -> None:
    """The end of a run is measured by all ranks, where all of them close."""
    model = sharded(network())
    monitor = foldmon.watch(model, held_out(), every=50, exporters=[], log_dir="ends")
    train(model, 7)
    assert monitor.report.step == 0
    monitor.close()
    assert monitor.report.step == 7
    assert_same(monitor.report, foldmon.measure(as_first_saves_it(model), foldmon.draw_pairs(held_out())))
    assert monitor.report.held_out is not None


def not_everywhere() -> None:
    team.JOIN = 3.0, 3.0
    model = replicated(network())
    if dist.get_rank() == 0:
        with pytest.raises(team.TeamError, match=r"must be called on every rank, .*the ranks \[1\] had not"):
            foldmon.watch(model, held_out(), exporters=[])
        alone = foldmon.watch(model.module, held_out(), exporters=[])
        assert alone.probe().step == 0
        alone.close()
    dist.barrier()
    if dist.get_rank() == 1:  # who comes too late is told so at once
        with pytest.raises(team.TeamError, match="this rank came after the others had stopped waiting"):
            foldmon.watch(model, held_out(), exporters=[])
    dist.barrier()


def stage() -> None:
    """A pipeline's stage is refused at once, on every rank, as what it is."""
    from torch.distributed.pipelining import PipelineStage

    model = network()
    part = PipelineStage(model[:4], dist.get_rank(), 2, torch.device("cpu"))
    for given in (part, part.submod):
        with pytest.raises(ValueError, match="a stage of a pipeline"):
            foldmon.watch(given, held_out(), exporters=[])


def parallel_and_replicated() -> None:
    """Tensor parallel inside DistributedDataParallel is refused at once, on every rank."""
    from torch.distributed.tensor.parallel.ddp import _pre_dp_module_transform

    mesh = init_device_mesh("cpu", (1, 2), mesh_dim_names=("data", "units"))
    model = parallelize_module(network(), mesh["units"], _BY_UNITS)
    _pre_dp_module_transform(model)
    model = DistributedDataParallel(model, process_group=mesh["data"].get_group())
    with pytest.raises(ValueError, match="tensor-parallel inside DistributedDataParallel"):
        foldmon.watch(model, held_out(), exporters=[])


if __name__ == "__main__":
    logging.basicConfig()
    torch.set_num_threads(1)
    dist.init_process_group("gloo", timeout=timedelta(seconds=20))
    for scenario in sys.argv[1:]:
        globals()[scenario]()
        print(f"{scenario} done on rank {dist.get_rank()}", flush=True)
    dist.destroy_process_group()
