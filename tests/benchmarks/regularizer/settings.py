"""The settings: real small data sets with little data or wrong labels, and the networks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from torch import Tensor, nn

LOADERS = {"digits": load_digits, "cancer": load_breast_cancer, "wine": load_wine}
VALIDATION = 200  # at most; fewer where the data set is small


@dataclass(frozen=True)
class Setting:
    """A data set, a network, the number of training inputs and the share of wrong labels."""

    dataset: str
    network: str
    size: int
    noise: float = 0.0

    @property
    def name(self) -> str:
        return f"{self.dataset}-{self.network}-{self.size}" + (f"-noise{self.noise:g}" if self.noise else "")


SETTINGS = (
    Setting("wine", "mlp", 20),
    Setting("cancer", "mlp", 30),
    Setting("digits", "mlp", 100),
    Setting("digits", "mlp", 300, noise=0.3),
    Setting("digits", "cnn", 100),
    Setting("cancer", "mlp", 100, noise=0.3),
    Setting("wine", "mlp", 60, noise=0.3),
)


@dataclass(frozen=True)
class Split:
    """Inputs and labels: wrong labels may be in the training and validation parts, never in the test's."""

    train: tuple[Tensor, Tensor]
    validation: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]


def load(setting: Setting, seed: int) -> Split:
    """Half of the data is the test part, the same for every seed, which draws the rest from the other.

    So no test input is ever seen in training or tuning, by whatever seed.
    """
    inputs, labels = _read(setting.dataset)
    order = np.random.default_rng(0).permutation(len(labels))
    pool, test = np.array_split(order, 2)
    generator = np.random.default_rng((seed, 1))
    pool = generator.permutation(pool)
    train, rest = pool[: setting.size], pool[setting.size : setting.size + VALIDATION]
    mean, spread = inputs[train].mean(0), inputs[train].std(0)
    if setting.dataset == "digits":  # pixels share one scale
        mean, spread = inputs[train].mean(), inputs[train].std()
    scaled = torch.from_numpy((inputs - mean) / np.where(spread > 0, spread, 1.0)).float()
    noisy = _with_noise(labels, setting.noise, generator)
    parts = [
        (scaled[rows], torch.from_numpy(given[rows]))
        for rows, given in ((train, noisy), (rest, noisy), (test, labels))
    ]
    return Split(*parts)


@cache
def _read(dataset: str) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    inputs, labels = LOADERS[dataset](return_X_y=True)
    return inputs, labels


def _with_noise(
    labels: npt.NDArray[np.int64], noise: float, generator: np.random.Generator
) -> npt.NDArray[np.int64]:
    wrong = generator.random(len(labels)) < noise
    classes = int(labels.max()) + 1
    return np.where(wrong, (labels + generator.integers(1, classes, len(labels))) % classes, labels)


def network(setting: Setting, features: int, classes: int, dropout: float) -> nn.Module:
    """The network of a setting; ``dropout`` follows every hidden activation."""
    if setting.network == "cnn":
        return nn.Sequential(
            nn.Unflatten(1, (1, 8, 8)),
            nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Dropout(dropout),
            nn.Conv2d(16, 16, 3, padding=1, stride=2), nn.ReLU(), nn.Dropout(dropout),
            nn.Flatten(),
            nn.Linear(256, 64), nn.ReLU(), nn.Dropout(dropout),
            nn.Linear(64, classes),
        )  # fmt: skip
    widths = [features, 64, 64, 64]
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), nn.ReLU(), nn.Dropout(dropout)]
    return nn.Sequential(*layers, nn.Linear(64, classes))
