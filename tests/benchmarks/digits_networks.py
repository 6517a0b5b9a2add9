"""Small networks on scikit-learn's digits, untrained and trained, for the benchmarks of precision."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from sklearn.datasets import load_digits
from torch import nn

TRAINED_ON = 1000


def digits() -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs (1797, 64) in [0, 1] and classes, shuffled."""
    inputs, classes = load_digits(return_X_y=True)
    order = torch.randperm(len(inputs), generator=torch.Generator().manual_seed(0))
    return torch.tensor(inputs / 16, dtype=torch.float32)[order], torch.tensor(classes)[order]


def mlp(depth: int, width: int, activation: type[nn.Module]) -> nn.Sequential:
    widths = [64, *[width] * depth]
    layers = [m for i in range(depth) for m in (nn.Linear(widths[i], widths[i + 1]), activation())]
    return nn.Sequential(*layers, nn.Linear(width, 10))


def cnn(activation: type[nn.Module]) -> nn.Sequential:
    return nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)),
        nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), activation(), nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, padding=1), activation(), nn.AvgPool2d(2),
        nn.Flatten(), nn.Linear(64, 32), activation(), nn.Linear(32, 10),
    )  # fmt: skip


NETWORKS: dict[str, Callable[[], nn.Sequential]] = {
    "MLP 4x64 ReLU": lambda: mlp(4, 64, nn.ReLU),
    "MLP 6x128 ReLU": lambda: mlp(6, 128, nn.ReLU),
    "CNN max-pool ReLU": lambda: cnn(nn.ReLU),
    "MLP 6x128 GELU": lambda: mlp(6, 128, nn.GELU),
    "MLP 6x128 Tanh": lambda: mlp(6, 128, nn.Tanh),
}


def networks(steps: int = 600) -> Iterator[tuple[str, nn.Module]]:
    """Each network at initialisation and after ``steps`` of Adam, in eval mode."""
    inputs, classes = digits()
    for name, make in NETWORKS.items():
        torch.manual_seed(0)
        model = make()
        yield f"{name}, untrained", model.eval()
        optimizer = torch.optim.Adam(model.parameters(), 1e-3)
        model.train()
        for _ in range(steps):
            rows = torch.randint(0, TRAINED_ON, (64,))
            loss = nn.functional.cross_entropy(model(inputs[rows]), classes[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        yield f"{name}, trained", model.eval()
