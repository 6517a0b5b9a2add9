"""The trainings that the line is judged on: small models on small data, as in notebooks and fine-tuning."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from tests.benchmarks.digits_networks import TRAINED_ON, digits, mlp
from tests.benchmarks.workloads import ResNet18

Loss = Callable[[nn.Module, Tensor, Tensor], Tensor]


def _cross_entropy(model: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(model(inputs), labels)


@dataclass
class Task:
    """A model, what it learns, and what is held out for ``foldmon.watch``."""

    model: nn.Module
    inputs: Tensor
    labels: Tensor
    held_out: DataLoader[Any]
    loss: Loss = _cross_entropy

    def __post_init__(self) -> None:
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=1e-3)

    def train(self, batch: int, steps: int) -> Iterator[int]:
        """Train, the same in every process; after each step its number, from 1 on."""
        self.model.train()
        draws = torch.Generator().manual_seed(1)
        for step in range(1, steps + 1):
            rows = torch.randint(len(self.inputs), (batch,), generator=draws)
            loss = self.loss(self.model, self.inputs[rows], self.labels[rows])
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            yield step


def _on_digits(model: nn.Module, *, size: int = 8, channels: int = 1, flat: bool = False) -> Task:
    inputs, labels = digits()
    if not flat:
        images = F.interpolate(inputs.view(-1, 1, 8, 8), (size, size), mode="bilinear")
        inputs = images.repeat(1, channels, 1, 1)
    held_out = TensorDataset(inputs[TRAINED_ON:], labels[TRAINED_ON:])
    return Task(model, inputs[:TRAINED_ON], labels[:TRAINED_ON], DataLoader(held_out, batch_size=64))


def _small_mlp() -> Task:
    return _on_digits(mlp(3, 128, nn.ReLU), flat=True)


def _wide_mlp() -> Task:
    return _on_digits(mlp(6, 512, nn.ReLU), flat=True)


def _cnn() -> Task:
    layers: list[nn.Module] = []
    for into, out in pairwise((1, 16, 32)):
        layers += [nn.Conv2d(into, out, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    head = [nn.Flatten(), nn.Linear(32 * 49, 128), nn.ReLU(), nn.Linear(128, 10)]
    return _on_digits(nn.Sequential(*layers, *head), size=28)


def _resnet18() -> Task:
    return _on_digits(ResNet18(), size=32, channels=3)


class _Encoder(nn.Module):
    """Rows of an image are tokens; two encoder layers of width 64."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.place = nn.Linear(8, 64), nn.Parameter(0.02 * torch.randn(8, 64))
        layer = nn.TransformerEncoderLayer(64, 4, 128, dropout=0.1, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.head(self.encoder(self.embed(x.view(-1, 8, 8)) + self.place).mean(1))
        return y


def _transformer() -> Task:
    return _on_digits(_Encoder(), flat=True)


def _gpt2(tokens: int = 256, length: int = 64) -> Task:
    """Text of which each token is followed by one of four."""
    from transformers import GPT2Config, GPT2LMHeadModel

    shape = {"vocab_size": tokens, "n_positions": length, "n_embd": 128, "n_layer": 4, "n_head": 4}
    model = GPT2LMHeadModel(GPT2Config(**shape, bos_token_id=None, eos_token_id=None))
    followers = torch.randint(tokens, (tokens, 4))
    text = [torch.randint(tokens, (1500,))]
    for _ in range(length - 1):
        text.append(followers[text[-1], torch.randint(4, (1500,))])
    ids = torch.stack(text, 1)
    items = [{"input_ids": row, "labels": row} for row in ids[1000:]]

    def loss(model: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor:
        found: Tensor = model(input_ids=inputs, labels=labels).loss
        return found

    return Task(model, ids[:1000], ids[:1000], DataLoader(items, batch_size=8), loss)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Course:
    """A training run of so many steps.

    Attributes:
        aim: points that its curve is to have, None where no number is set.
        judged: most points of the curve at which the whole panel is measured, and twice as many as the steps
            of the course: as many as are wished where that is cheap.
        repeats: most pairs of runs, with and without the line.
    """

    title: str
    task: Callable[[], Task]
    batch: int
    steps: int
    aim: int | None = 40
    judged: int = 60
    repeats: int = 99

    def begin(self) -> Task:
        """The task at step 0, the same in every process."""
        torch.manual_seed(0)
        return self.task()


COURSES = {
    "digits": Course("MLP 3 x 128, batch 64", _small_mlp, 64, 1200, judged=600),
    "cnn": Course("CNN, 28 x 28, batch 64", _cnn, 64, 1600, judged=120),
    "gpt2": Course("GPT-2 shape, 4 layers of 128, batch 8", _gpt2, 8, 300, aim=20, judged=30),
    "resnet18": Course("ResNet-18, 32 x 32, batch 32", _resnet18, 32, 200, aim=None, judged=12, repeats=2),
    "mlp512": Course("MLP 6 x 512, batch 256", _wide_mlp, 256, 600, judged=240),
    "transformer": Course("transformer, batch 4", _transformer, 4, 1000, judged=240),
    "long": Course("MLP 3 x 128, batch 64, long", _small_mlp, 64, 10_000, judged=600),
}
