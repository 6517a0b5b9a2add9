"""DistributedDataParallel on two processes. Every rank says the one line.

torchrun --nproc-per-node 2 examples/ddp_torchrun.py
python examples/ddp_torchrun.py        # starts torchrun itself
"""

from __future__ import annotations

import os
import sys

import torch
import torch.distributed as dist
from sklearn.datasets import load_digits
from torch import nn
from torch.distributed.run import main as torchrun
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset, random_split

import foldmon


def train() -> None:
    dist.init_process_group("gloo")
    torch.manual_seed(0)
    data = load_digits()
    digits = TensorDataset(torch.tensor(data.data / 16, dtype=torch.float32), torch.tensor(data.target))
    train_data, val_data = random_split(digits, [1300, 497])
    model = DistributedDataParallel(
        nn.Sequential(
            nn.Linear(64, 100), nn.ReLU(), nn.Linear(100, 100), nn.ReLU(), nn.Linear(100, 100), nn.ReLU(),
            nn.Linear(100, 10),
        )
    )  # fmt: skip
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    sampler: DistributedSampler[tuple[torch.Tensor, ...]] = DistributedSampler(train_data)
    loader = DataLoader(train_data, batch_size=25, sampler=sampler)

    with foldmon.watch(model, DataLoader(val_data, batch_size=50)) as monitor:
        for epoch in range(10):
            sampler.set_epoch(epoch)
            for images, labels in loader:
                loss = F.cross_entropy(model(images), labels)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
    if dist.get_rank() == 0:
        print(monitor.summary())
    dist.destroy_process_group()


if __name__ == "__main__":
    if "RANK" in os.environ:
        train()
    else:
        torchrun(["--standalone", "--nproc-per-node", "2", *sys.argv])
