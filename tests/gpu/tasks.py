"""A small task with all that training on a device draws and keeps: dropout, running statistics, images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import foldmon
from foldmon.folding.undisturbed.random_state import random_state

CLASSES = 4


def network() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.1),
        nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(inplace=True), nn.Flatten(),
        nn.Linear(32 * 64, 64), nn.GELU(), nn.Linear(64, CLASSES),
    )  # fmt: skip


def images(count: int, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % CLASSES
    return torch.randn(count, 3, 16, 16, generator=generator) + labels[:, None, None, None], labels


def step(model: Callable[[Tensor], Tensor], x: Tensor, y: Tensor) -> Tensor:
    loss: Tensor = F.cross_entropy(model(x).float(), y)
    loss.backward()
    return loss.detach()


def train(
    device: torch.device,
    watched: bool,
    steps: int = 12,
    prepare: Callable[[nn.Module], Any] = lambda model: model,
    one: Callable[..., Tensor] = step,
    dtype: torch.dtype = torch.float32,
    **options: Any,
) -> dict[str, Any]:
    """Train from fixed seeds; all that training leaves behind."""
    torch.manual_seed(0)
    model = network().to(device, dtype)
    called = prepare(model)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    x, y = images(64, 1)
    x, y = x.to(device, dtype), y.to(device)
    monitor = None
    if watched:
        monitor = foldmon.watch(model, images(48, 2), every=2, pairs=8, points=9, exporters=[], **options)
    losses = []
    for number in range(steps):
        rows = torch.arange(16) + 16 * (number % 4)
        losses.append(one(called, x[rows.to(device)], y[rows.to(device)]))
        optimizer.step()
        optimizer.zero_grad(set_to_none=False)
    if monitor is not None:
        monitor.close()
        assert monitor.report.step == steps
        assert len(monitor.history) > 1, "probes ran beside training"
    return {
        "losses": torch.stack(losses).cpu(),
        "weights": {name: value.cpu() for name, value in model.state_dict().items()},
        "random": random_state(),
    }


def assert_identical(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert torch.equal(one["losses"], other["losses"])
    for name, value in one["weights"].items():
        assert torch.equal(value, other["weights"][name]), name
    assert torch.equal(one["random"]["torch"], other["random"]["torch"])
    for mine, theirs in zip(one["random"]["devices"], other["random"]["devices"], strict=True):
        assert torch.equal(mine, theirs)
