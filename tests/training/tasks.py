"""Small models of the kinds that people train, each with its loss."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

SIDE, CLASSES = 6, 3
Call = Callable[..., Any]


@dataclass
class Task:
    """Models that are trained together.

    Attributes:
        models: each has an optimizer of its own.
        loss: ``loss(turn, calls, x, y)``; in a turn the model of that number is stepped. ``calls`` are
            the models as training calls them (compiled, checkpointed, ...).
    """

    models: list[nn.Module]
    loss: Callable[[int, Sequence[Call], Tensor, Tensor], Tensor]


def _classify(turn: int, calls: Sequence[Call], x: Tensor, y: Tensor) -> Tensor:
    return functional.cross_entropy(calls[0](x), y)


def mlp() -> Task:
    layers = [nn.Flatten(), nn.Linear(SIDE * SIDE, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU()]
    return Task([nn.Sequential(*layers, nn.Linear(16, CLASSES))], _classify)


def cnn() -> Task:
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Dropout2d(0.2),
        nn.Conv2d(4, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Flatten(),
        nn.Dropout(0.5),
        nn.Linear(4 * SIDE * SIDE, CLASSES),
    )
    return Task([model], _classify)


class Block(nn.Module):
    """As in torchvision: one in-place ReLU, called twice."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(out)) + x)


def resnet() -> Task:
    stem = [nn.Conv2d(1, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU(inplace=True)]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, CLASSES)]
    return Task([nn.Sequential(*stem, Block(4), Block(4), *head)], _classify)


class Transformer(nn.Module):
    """Rows of the image are the tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(SIDE, 8)
        layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.1, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.encoder(self.embed(x.squeeze(1))).mean(1))


def transformer() -> Task:
    return Task([Transformer()], _classify)


class VAE(nn.Module):
    """Draws its code in eval mode too."""

    def __init__(self) -> None:
        super().__init__()
        self.encode = nn.Sequential(nn.Flatten(), nn.Linear(SIDE * SIDE, 16), nn.ReLU(), nn.Linear(16, 8))
        self.decode = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, SIDE * SIDE))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mean, log_variance = self.encode(x).chunk(2, -1)
        code = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
        return self.decode(code).view_as(x), mean, log_variance


def _elbo(turn: int, calls: Sequence[Call], x: Tensor, y: Tensor) -> Tensor:
    decoded, mean, log_variance = calls[0](x)
    divergence = 0.5 * (mean.square() + log_variance.exp() - log_variance - 1)
    return functional.mse_loss(decoded, x) + 0.1 * divergence.mean()


def vae() -> Task:
    return Task([VAE()], _elbo)


def _adversarial(turn: int, calls: Sequence[Call], x: Tensor, y: Tensor) -> Tensor:
    generate, judge = calls
    made = generate(torch.randn(len(x), 4))
    if turn == 0:
        return functional.softplus(-judge(made)).mean()
    return functional.softplus(-judge(x.flatten(1))).mean() + functional.softplus(judge(made.detach())).mean()


def gan() -> Task:
    size = SIDE * SIDE
    generator = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, size))
    bend = functools.partial(nn.LeakyReLU, 0.2)
    judge = nn.Sequential(
        nn.Linear(size, 16), bend(), nn.Dropout(0.3), nn.Linear(16, 16), bend(), nn.Linear(16, 1)
    )
    return Task([generator, judge], _adversarial)


TASKS: dict[str, Callable[[], Task]] = {
    "mlp": mlp,
    "cnn": cnn,
    "resnet": resnet,
    "transformer": transformer,
    "vae": vae,
    "gan": gan,
}
