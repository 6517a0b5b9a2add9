"""The shapes that users train on a GPU, with random weights: nothing is downloaded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class _Bottleneck(nn.Module):
    def __init__(self, inside: int, width: int, stride: int) -> None:
        super().__init__()
        outside = 4 * width
        self.body = nn.Sequential(
            nn.Conv2d(inside, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True),
            nn.Conv2d(width, outside, 1, bias=False), nn.BatchNorm2d(outside),
        )  # fmt: skip
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inside != outside:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inside, outside, 1, stride, bias=False), nn.BatchNorm2d(outside)
            )
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.relu(self.body(x) + self.shortcut(x))
        return out


def resnet50(classes: int = 1000) -> nn.Sequential:
    """ResNet-50 for images of 224 x 224."""
    blocks: list[nn.Module] = []
    inside = 64
    for stage, (width, count) in enumerate(((64, 3), (128, 4), (256, 6), (512, 3))):
        for number in range(count):
            blocks.append(_Bottleneck(inside, width, 2 if stage and not number else 1))
            inside = 4 * width
    return nn.Sequential(
        nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True),
        nn.MaxPool2d(3, 2, 1), *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2048, classes),
    )  # fmt: skip


class _Layer(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.ln1, self.ln2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.act, self.down = nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in self.qkv(self.ln1(x)).chunk(3, -1)
        )
        seen = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2)
        x = x + self.out(seen)
        out: Tensor = x + self.down(self.act(self.up(self.ln2(x))))
        return out


class GPT2(nn.Module):
    """GPT-2 small's shape: 12 layers of 768, 50,257 tokens."""

    def __init__(self, tokens: int, layers: int = 12, width: int = 768, vocabulary: int = 50257) -> None:
        super().__init__()
        self.wte, self.wpe = nn.Embedding(vocabulary, width), nn.Embedding(tokens, width)
        self.layers = nn.Sequential(*(_Layer(width, max(1, width // 64)) for _ in range(layers)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, vocabulary, bias=False)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.wte(ids) + self.wpe(torch.arange(ids.shape[1], device=ids.device))
        logits: Tensor = self.head(self.norm(self.layers(x)))
        return logits


def _mlp() -> nn.Sequential:
    layers = [m for _ in range(3) for m in (nn.Linear(128, 128), nn.ReLU())]
    return nn.Sequential(*layers, nn.Linear(128, 10))


@dataclass(frozen=True)
class Workload:
    """A training run.

    Attributes:
        name: as the table says it.
        build: makes the model.
        inputs: makes so many inputs.
        loss: of outputs and labels.
        batch: inputs of a step.
        half: train under bfloat16 autocast.
    """

    name: str
    build: Callable[[], nn.Module]
    inputs: Callable[[int], Tensor]
    labels: Callable[[Tensor], Tensor]
    batch: int
    half: bool = False

    def loss(self, outputs: Tensor, inputs: Tensor) -> Tensor:
        """Cross-entropy: of the next token, or of a label that is computed from the input."""
        labels = self.labels(inputs)
        if outputs.ndim == 3:
            outputs, labels = outputs[:, :-1].flatten(0, 1), labels[:, 1:].flatten()
        return F.cross_entropy(outputs.float(), labels)


def _classes(count: int) -> Callable[[Tensor], Tensor]:
    return lambda x: (x.flatten(1).float().mean(1).abs() * 1e4).long() % count


def workloads(small: bool) -> list[Workload]:
    """ResNet-50 at 224, GPT-2 small at 1,024 tokens and a small MLP; ``small`` shrinks them for a trial."""
    side, tokens, layers, width, words = (64, 32, 2, 64, 211) if small else (224, 1024, 12, 768, 50257)
    batch = (4, 2) if small else (64, 8)
    gpt2: Callable[[], Any] = lambda: GPT2(tokens, layers, width, words)  # noqa: E731
    return [
        Workload("MLP 3 x 128", _mlp, lambda n: torch.randn(n, 128), _classes(10), 128),
        Workload(
            f"ResNet-50 at {side}", resnet50, lambda n: torch.randn(n, 3, side, side), _classes(1000),
            batch[0], half=True,
        ),
        Workload(
            f"GPT-2 shape ({layers} x {width}) at {tokens} tokens", gpt2,
            lambda n: torch.randint(0, words, (n, tokens)), lambda x: x, batch[1], half=True,
        ),
    ]  # fmt: skip
