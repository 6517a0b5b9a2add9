"""Training loops of three kinds and of any step time, for the benchmarks."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass
class Workload:
    """A model with all that one training step needs."""

    model: nn.Module
    inputs: Tensor
    labels: Tensor
    held_out: tuple[Tensor, Tensor]

    def __post_init__(self) -> None:
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=1e-3)

    def step(self) -> None:
        loss = nn.functional.cross_entropy(self.model(self.inputs), self.labels)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()


def _classified(model: nn.Module, batch: int, *shape: int) -> Workload:
    labels = torch.arange(128) % 10
    held_out = torch.randn(128, *shape), labels
    return Workload(model, torch.randn(batch, *shape), torch.arange(batch) % 10, held_out)


def mlp() -> Workload:
    """784-256-256-10, batch 128."""
    layers = [nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10)]
    return _classified(nn.Sequential(*layers), 128, 784)


def cnn() -> Workload:
    """Three convolutions with BatchNorm on 3x32x32, batch 32."""
    layers: list[nn.Module] = []
    for into, out in ((3, 16), (16, 32), (32, 64)):
        layers += [nn.Conv2d(into, out, 3, padding=1), nn.BatchNorm2d(out), nn.ReLU(), nn.MaxPool2d(2)]
    return _classified(nn.Sequential(*layers, nn.Flatten(), nn.Linear(64 * 16, 10)), 32, 3, 32, 32)


class _Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(128, 4, 256, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 4, enable_nested_tensor=False)
        self.head = nn.Linear(128, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.encoder(x).mean(1))


def transformer() -> Workload:
    """Four encoder layers of width 128, 32 tokens, batch 16."""
    return _classified(_Encoder(), 16, 32, 128)


WORKLOADS: dict[str, Callable[[], Workload]] = {"mlp": mlp, "cnn": cnn, "transformer": transformer}


def seconds_of(action: Callable[[], object], times: int) -> float:
    """Seconds of so many calls in a row."""
    began = time.perf_counter()
    for _ in range(times):
        action()
    return time.perf_counter() - began


def describe() -> str:
    """The conditions of a measurement, for the head of a table."""
    return f"torch {torch.__version__}, CPU, {torch.get_num_threads()} intra-op thread(s)"
