"""One rank under DistributedDataParallel, and under FSDP2; started by torchrun, NCCL where there is CUDA."""

from __future__ import annotations

import os
import sys

import numpy as np
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

import foldmon
from tests.gpu.tasks import images, network, step


def trained(wrap, device: torch.device, watched: bool) -> tuple[torch.Tensor, foldmon.Monitor | None]:
    torch.manual_seed(0)
    model = wrap(network().to(device))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    x, y = (part.to(device) for part in images(16, 1 + dist.get_rank()))
    monitor = (
        foldmon.watch(model, images(48, 2), every=2, pairs=9, points=9, exporters=[]) if watched else None
    )
    losses = []
    for _ in range(6):
        losses.append(step(model, x, y))
        optimizer.step()
        optimizer.zero_grad()
    if monitor is not None:
        monitor.close()
    return torch.stack(losses).cpu(), monitor


def sharded(model: nn.Module) -> nn.Module:
    for module in (model[0], model[5], model[8]):
        fully_shard(module)
    return fully_shard(model)


if __name__ == "__main__":
    kind, rank = sys.argv[1], int(os.environ["LOCAL_RANK"])
    device = torch.device("cpu") if kind == "cpu" else torch.device(kind, rank)
    if kind == "cuda":
        torch.cuda.set_device(device)
    torch.backends.cudnn.deterministic = True
    dist.init_process_group({"cuda": "nccl", "cpu": "gloo"}.get(kind))
    for wrap in (DistributedDataParallel, sharded):
        losses, _ = trained(wrap, device, watched=False)
        same, monitor = trained(wrap, device, watched=True)
        assert torch.equal(losses, same), wrap
        assert [report.step for report in monitor.history] == [0, 2, 4, 6], wrap
        reports: list = [None] * dist.get_world_size()
        dist.all_gather_object(reports, monitor.report.r2)
        assert all(np.array_equal(r2, monitor.report.r2) for r2 in reports)
    print(f"done on rank {rank}", flush=True)
    dist.destroy_process_group()
