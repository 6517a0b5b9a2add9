"""Networks of the benchmark."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from tests.benchmarks.warnings.data import Pool

Activation = Callable[[], nn.Module]
ACTIVATIONS: dict[str, Activation] = {
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "leaky": lambda: nn.LeakyReLU(0.01),
}
_SHAPES = {"narrow": (32, 3), "deep": (72, 6), "wide": (320, 3)}
_EMBEDDED = 16  # width of a token, and number of features that a transformer takes at once


def build(architecture: str, activation: str, dropout: float, task: Pool) -> nn.Module:
    """A network for the task, of one of the architectures that the grid names."""
    act = ACTIVATIONS[activation]
    outputs = task.classes or 1
    if architecture == "transformer":
        return Transformer(task, outputs, act, dropout)
    if architecture == "causal":
        return _causal(task, outputs, act, dropout)
    if task.shape is not None and architecture in ("cnn", "resnet"):
        make = _cnn if architecture == "cnn" else _resnet
        return make(task.shape, outputs, act, dropout)
    width = task.x.shape[1] * (_EMBEDDED if task.vocabulary else 1)
    if architecture == "residual":
        body = _residual(width, outputs, act, dropout)
    elif architecture == "gated":
        body = _gated(width, outputs, act, dropout)
    else:
        body = _mlp(width, outputs, *_SHAPES[architecture], act, dropout)
    if not task.vocabulary:
        return body
    return nn.Sequential(nn.Embedding(task.vocabulary, _EMBEDDED), nn.Flatten(), body)


def _mlp(inputs: int, outputs: int, width: int, depth: int, act: Activation, dropout: float) -> nn.Module:
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers += [nn.Linear(inputs, width), act(), nn.Dropout(dropout)]
        inputs = width
    return nn.Sequential(*layers, nn.Linear(width, outputs))


class Skip(nn.Module):
    """x + f(x)."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.body = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


def _residual(inputs: int, outputs: int, act: Activation, dropout: float) -> nn.Module:
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
    return nn.Sequential(nn.Linear(inputs, width), *blocks, nn.LayerNorm(width), nn.Linear(width, outputs))


class Gate(nn.Module):
    """Half of the units, each times the activation of one of the other half."""

    def __init__(self, act: Activation) -> None:
        super().__init__()
        self.act = act()

    def forward(self, x: Tensor) -> Tensor:
        value, gate = x.chunk(2, dim=-1)
        gated: Tensor = value * self.act(gate)
        return gated


def _gated(inputs: int, outputs: int, act: Activation, dropout: float) -> nn.Module:
    layers: list[nn.Module] = []
    for _ in range(3):
        layers += [nn.Linear(inputs, 128), Gate(act), nn.LayerNorm(64), nn.Dropout(dropout)]
        inputs = 64
    return nn.Sequential(*layers, nn.Linear(inputs, outputs))


def _resnet(shape: tuple[int, int, int], outputs: int, act: Activation, dropout: float) -> nn.Module:
    width = 20
    reduced = (shape[1] + 1) // 4

    def block() -> nn.Module:
        return Skip(
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            act(),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
        )

    return nn.Sequential(
        nn.Unflatten(1, shape),
        nn.Conv2d(shape[0], width, 3, stride=2, padding=1),
        act(),
        block(),
        act(),
        nn.AvgPool2d(2),
        block(),
        act(),
        nn.Flatten(),
        nn.Dropout(dropout),
        nn.Linear(width * reduced**2, outputs),
    )


def _cnn(shape: tuple[int, int, int], outputs: int, act: Activation, dropout: float) -> nn.Module:
    reduced = (shape[1] + 3) // 4
    return nn.Sequential(
        nn.Unflatten(1, shape),
        nn.Conv2d(shape[0], 16, 3, stride=2, padding=1),
        act(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1),
        act(),
        nn.Flatten(),
        nn.Dropout(dropout),
        nn.Linear(32 * reduced**2, 64),
        act(),
        nn.Linear(64, outputs),
    )


class Causal(nn.Module):
    """A convolution over a place and those before it; shapes (N, T, in) and (N, T, out)."""

    def __init__(self, inputs: int, outputs: int, apart: int) -> None:
        super().__init__()
        self.before = 2 * apart
        self.convolution = nn.Conv1d(inputs, outputs, 3, dilation=apart)

    def forward(self, x: Tensor) -> Tensor:
        mixed: Tensor = self.convolution(nn.functional.pad(x.transpose(1, 2), (self.before, 0)))
        return mixed.transpose(1, 2)


class Read(nn.Module):
    """What stands at one place, or at all."""

    def __init__(self, place: int | None) -> None:
        super().__init__()
        self.place = place

    def forward(self, x: Tensor) -> Tensor:
        return x if self.place is None else x[:, self.place]


def _causal(task: Pool, outputs: int, act: Activation, dropout: float) -> nn.Module:
    layers: list[nn.Module] = [nn.Embedding(task.vocabulary, _EMBEDDED)]
    inputs = _EMBEDDED
    for apart in (1, 2, 4):
        layers += [Causal(inputs, 64, apart), act(), nn.Dropout(dropout)]
        inputs = 64
    return nn.Sequential(*layers, Read(task.place), nn.Linear(64, outputs))


class Attention(nn.Module):
    """Multi-head self-attention."""

    def __init__(self, width: int, heads: int, causal: bool) -> None:
        super().__init__()
        self.heads, self.causal = heads, causal
        self.into, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (
            part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in self.into(x).chunk(3, dim=2)
        )
        mixed = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        return self.out(mixed.transpose(1, 2).flatten(2))


class Transformer(nn.Module):
    """Two blocks over tokens, or over groups of features."""

    def __init__(self, task: Pool, outputs: int, act: Activation, dropout: float) -> None:
        super().__init__()
        width, features = 48, task.x.shape[1]
        self.tokens = bool(task.vocabulary)
        self.missing = 0 if self.tokens else -features % _EMBEDDED
        length = features if self.tokens else (features + self.missing) // _EMBEDDED
        self.embed = nn.Embedding(task.vocabulary, width) if self.tokens else nn.Linear(_EMBEDDED, width)
        self.place = nn.Parameter(torch.randn(length, width) * 0.1)
        self.blocks = nn.Sequential(
            *(
                nn.Sequential(
                    Skip(nn.LayerNorm(width), Attention(width, 4, causal=task.place is None)),
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
        self.head = nn.Sequential(Read(task.place), nn.LayerNorm(width), nn.Linear(width, outputs))

    def forward(self, x: Tensor) -> Tensor:
        if not self.tokens:
            x = nn.functional.pad(x, (0, self.missing)).unflatten(1, (-1, _EMBEDDED))
        logits: Tensor = self.head(self.blocks(self.embed(x) + self.place))
        return logits
