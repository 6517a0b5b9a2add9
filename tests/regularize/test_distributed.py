"""Two processes under DistributedDataParallel."""

import os
import socket

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

from foldmon import FoldingRegularizer

pytestmark = pytest.mark.skipif(not dist.is_available(), reason="torch is built without distributed")
RANKS = 2
X = torch.randn(32, 6, generator=torch.Generator().manual_seed(1))


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 3))


def gradients(way, model, inputs):
    reg = FoldingRegularizer(model, 0.5)
    if way == "attached":
        reg.attach()
    loss = model(inputs).square().mean()
    (loss + reg(inputs) if way == "called" else loss).backward()
    reg.detach()
    return [p.grad.clone() for p in model.parameters()]


def worker(rank, port, folder):
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    dist.init_process_group("gloo", rank=rank, world_size=RANKS)
    inputs = X.chunk(RANKS)[rank]
    found = {
        (way, unused): gradients(
            way, DistributedDataParallel(network(), find_unused_parameters=unused), inputs
        )
        for way in ("called", "attached")
        for unused in (False, True)
    }
    torch.save(found, folder / f"{rank}.pt")
    with pytest.raises(ValueError, match="DistributedDataParallel"):
        FoldingRegularizer(fully_shard(network()))
    dist.destroy_process_group()


@pytest.mark.slow
def test_ddp_averages_the_terms_gradient_over_ranks(tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    mp.spawn(worker, args=(port, tmp_path), nprocs=RANKS)
    ranks = [torch.load(tmp_path / f"{rank}.pt") for rank in range(RANKS)]
    alone = [gradients("called", network(), inputs) for inputs in X.chunk(RANKS)]
    means = [torch.stack(parts).mean(0) for parts in zip(*alone, strict=True)]
    reference = ranks[0]["called", False]
    for found in ranks:
        for grads in found.values():
            assert all(torch.equal(a, b) for a, b in zip(grads, reference, strict=True))
    for a, b in zip(reference, means, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-7)
