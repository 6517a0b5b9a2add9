"""Networks of the benchmark."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from tests.benchmarks.warnings.data import LETTERS, WINDOW, Data

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "leaky": lambda: nn.LeakyReLU(0.01),
}
_SHAPES = {"narrow": (24, 3), "deep": (72, 6), "wide": (320, 3)}


def build(architecture: str, activation: str, dropout: float, data: Data) -> nn.Module:
    """A network for the task, of one of the architectures that the grid names."""
    act = ACTIVATIONS[activation]
    tokens = not data.x.is_floating_point()
    if architecture == "transformer":
        return Transformer(data, act, dropout)
    if architecture == "cnn":
        return _cnn(data.classes, act, dropout)
    if architecture == "resnet":
        return _resnet(data.classes, act, dropout)
    width = WINDOW * 8 if tokens else data.x.shape[1]
    if architecture == "residual":
        body = _residual(width, data.classes, act, dropout)
    elif architecture == "gated":
        body = _gated(width, data.classes, act, dropout)
    else:
        body = _mlp(width, data.classes, *_SHAPES[architecture], act, dropout)
    return nn.Sequential(nn.Embedding(LETTERS, 8), nn.Flatten(), body) if tokens else body


def _mlp(
    inputs: int, classes: int, width: int, depth: int, act: Callable[[], nn.Module], dropout: float
) -> nn.Module:
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers += [nn.Linear(inputs, width), act(), nn.Dropout(dropout)]
        inputs = width
    return nn.Sequential(*layers, nn.Linear(width, classes))


class Skip(nn.Module):
    """x + f(x)."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.body = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


def _residual(inputs: int, classes: int, act: Callable[[], nn.Module], dropout: float) -> nn.Module:
    width = 96
    blocks = [
        Skip(
            nn.LayerNorm(width),
            nn.Linear(width, 2 * width),
            act(),
            nn.Dropout(dropout),
            nn.Linear(2 * width, width),
        )
        for _ in range(3)
    ]
    return nn.Sequential(nn.Linear(inputs, width), *blocks, nn.LayerNorm(width), nn.Linear(width, classes))


class Gate(nn.Module):
    """Half of the units, each times the activation of one of the other half."""

    def __init__(self, act: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.act = act()

    def forward(self, x: Tensor) -> Tensor:
        value, gate = x.chunk(2, dim=-1)
        gated: Tensor = value * self.act(gate)
        return gated


def _gated(inputs: int, classes: int, act: Callable[[], nn.Module], dropout: float) -> nn.Module:
    layers: list[nn.Module] = []
    for _ in range(3):
        layers += [nn.Linear(inputs, 128), Gate(act), nn.LayerNorm(64), nn.Dropout(dropout)]
        inputs = 64
    return nn.Sequential(*layers, nn.Linear(inputs, classes))


def _resnet(classes: int, act: Callable[[], nn.Module], dropout: float) -> nn.Module:
    def block() -> nn.Module:
        return Skip(
            nn.Conv2d(16, 16, 3, padding=1, bias=False),
            nn.BatchNorm2d(16),
            act(),
            nn.Conv2d(16, 16, 3, padding=1, bias=False),
            nn.BatchNorm2d(16),
        )

    return nn.Sequential(
        nn.Unflatten(1, (3, 8, 8)),
        nn.Conv2d(3, 16, 3, padding=1),
        act(),
        block(),
        act(),
        nn.AvgPool2d(2),
        block(),
        act(),
        nn.Flatten(),
        nn.Dropout(dropout),
        nn.Linear(16 * 16, classes),
    )


def _cnn(classes: int, act: Callable[[], nn.Module], dropout: float) -> nn.Module:
    return nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)),
        nn.Conv2d(1, 12, 3, padding=1),
        act(),
        nn.Conv2d(12, 24, 3, stride=2, padding=1),
        act(),
        nn.Flatten(),
        nn.Dropout(dropout),
        nn.Linear(24 * 16, 64),
        act(),
        nn.Linear(64, classes),
    )


class Attention(nn.Module):
    """Multi-head self-attention."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.into, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (
            part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in self.into(x).chunk(3, dim=2)
        )
        mixed = nn.functional.scaled_dot_product_attention(q, k, v)
        return self.out(mixed.transpose(1, 2).flatten(2))


class Transformer(nn.Module):
    """Two blocks over letters, or over groups of five features, read at the last place."""

    def __init__(self, data: Data, act: Callable[[], nn.Module], dropout: float) -> None:
        super().__init__()
        width = 32
        self.tokens = not data.x.is_floating_point()
        length = WINDOW if self.tokens else data.x.shape[1] // 5
        self.embed = nn.Embedding(LETTERS, width) if self.tokens else nn.Linear(5, width)
        self.place = nn.Parameter(torch.randn(length, width) * 0.1)
        self.blocks = nn.Sequential(
            *(
                nn.Sequential(
                    Skip(nn.LayerNorm(width), Attention(width, 4)),
                    Skip(
                        nn.LayerNorm(width),
                        nn.Linear(width, 3 * width),
                        act(),
                        nn.Dropout(dropout),
                        nn.Linear(3 * width, width),
                    ),
                )
                for _ in range(2)
            )
        )
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, data.classes))

    def forward(self, x: Tensor) -> Tensor:
        parts = self.embed(x) if self.tokens else self.embed(x.unflatten(1, (-1, 5)))
        mixed: Tensor = self.blocks(parts + self.place)
        logits: Tensor = self.head(mixed[:, -1])
        return logits
