"""Models and inputs that the benchmarks measure on: the shapes that users train, with random weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def mlp(width: int = 512, depth: int = 6, classes: int = 10) -> nn.Sequential:
    """A multi-layer perceptron of ``depth`` hidden ReLU layers."""
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers += [nn.Linear(width, width), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(width, classes))


class _Block(nn.Module):
    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inside, outside, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outside)
        self.conv2 = nn.Conv2d(outside, outside, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outside)
        self.relu = nn.ReLU(inplace=True)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inside != outside:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inside, outside, 1, stride, bias=False), nn.BatchNorm2d(outside)
            )

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(y)) + self.shortcut(x))


class ResNet18(nn.Module):
    """The CIFAR form of ResNet-18: a 3 x 3 stem, four stages of two blocks, 32 x 32 inputs."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True)
        )
        widths = (64, 64, 128, 256, 512)
        blocks: list[nn.Module] = []
        for stage, (inside, outside) in enumerate(pairwise(widths)):
            blocks += [_Block(inside, outside, 1 if stage == 0 else 2), _Block(outside, outside, 1)]
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(512, classes)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.blocks(self.stem(x))
        out: Tensor = self.head(y.mean((2, 3)))
        return out


class _TransformerBlock(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.act, self.down = nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        rows, length, width = x.shape
        q, k, v = (
            part.view(rows, length, self.heads, -1).transpose(1, 2)
            for part in self.qkv(self.norm1(x)).chunk(3, -1)
        )
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(mixed.transpose(1, 2).reshape(rows, length, width))
        y: Tensor = x + self.down(self.act(self.up(self.norm2(x))))
        return y


class GPT(nn.Module):
    """A GPT-2-small-shaped decoder: width 768, 12 heads, ``depth`` blocks; the last token is classified."""

    def __init__(self, depth: int = 6, tokens: int = 1000, length: int = 64) -> None:
        super().__init__()
        self.wte, self.wpe = nn.Embedding(tokens, 768), nn.Embedding(length, 768)
        self.blocks = nn.Sequential(*(_TransformerBlock(768, 12) for _ in range(depth)))
        self.norm, self.head = nn.LayerNorm(768), nn.Linear(768, 10)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.wte(ids) + self.wpe(torch.arange(ids.shape[1], device=ids.device))
        y: Tensor = self.head(self.norm(self.blocks(x))[:, -1])
        return y


@dataclass(frozen=True)
class Workload:
    """A model with its inputs and a size of measurement that takes seconds.

    Attributes:
        build: makes the model.
        inputs: makes a number of inputs, batch first.
        paths: number of pairs.
        points: points a path.
    """

    name: str
    build: Callable[[], nn.Module]
    inputs: Callable[[int], Any]
    paths: int
    points: int

    def pairs(self) -> tuple[Any, Any]:
        """The ends of the paths, the same in every run."""
        torch.manual_seed(0)
        return self.inputs(self.paths), self.inputs(self.paths)


WORKLOADS = (
    Workload("MLP 6 x 512", mlp, lambda n: torch.randn(n, 512), 256, 33),
    Workload("ResNet-18, 32 x 32", ResNet18, lambda n: torch.randn(n, 3, 32, 32), 4, 33),
    Workload("GPT-2 small, 6 blocks", GPT, lambda n: torch.randint(1000, (n, 64)), 2, 33),
)
