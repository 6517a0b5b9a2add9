"""Data sets of the benchmark: a pool to train on and a validation set, from scikit-learn, drawn, or read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor

WINDOW = 12
_LETTERS = " abcdefghijklmnopqrstuvwxyz.,'`()=:\n"


@dataclass(frozen=True)
class Data:
    """A classification task.

    Attributes:
        x, y: inputs and classes of the training pool.
        x_val, y_val: of the validation set, clean.
        classes: number of classes.
    """

    x: Tensor
    y: Tensor
    x_val: Tensor
    y_val: Tensor
    classes: int


def load(name: str, seed: int) -> Data:
    """The data set of that name; ``seed`` decides the split and the draw."""
    x, y, validation = _LOADERS[name](seed)
    order = np.random.default_rng(seed).permutation(len(x))
    held, pool = order[:validation], order[validation:]
    inputs, classes = torch.from_numpy(x), torch.from_numpy(y.astype(np.int64))
    return Data(inputs[pool], classes[pool], inputs[held], classes[held], int(y.max()) + 1)


def _standardized(x: np.ndarray) -> np.ndarray:
    return ((x - x.mean(0)) / (x.std(0) + 1e-9)).astype(np.float32)


def _digits(seed: int) -> tuple[np.ndarray, np.ndarray, int]:
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    return (x / 8 - 1).astype(np.float32), y, 600


def _wine(seed: int) -> tuple[np.ndarray, np.ndarray, int]:
    from sklearn.datasets import load_wine

    x, y = load_wine(return_X_y=True)
    return _standardized(x), y, 78


def _cancer(seed: int) -> tuple[np.ndarray, np.ndarray, int]:
    from sklearn.datasets import load_breast_cancer

    x, y = load_breast_cancer(return_X_y=True)
    return _standardized(x), y, 249


def _blobs(seed: int) -> tuple[np.ndarray, np.ndarray, int]:
    """12 Gaussian blobs of 3 classes in 20 dimensions; the spread sets how far the classes overlap."""
    generator = np.random.default_rng(1000 + seed)
    centres = generator.normal(size=(12, 20)) * 1.2
    which = generator.integers(12, size=2600)
    spread = generator.choice([0.8, 1.2, 1.6])
    x = centres[which] + generator.normal(size=(2600, 20)) * spread
    return (x / x.std()).astype(np.float32), which % 3, 800


def _spirals(seed: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Two spirals of a bit more than one turn with Gaussian noise."""
    generator = np.random.default_rng(2000 + seed)
    y = generator.integers(2, size=2400)
    radius = np.sqrt(generator.uniform(0.02, 1, size=2400)) * 3
    angle = radius * 2.4 + np.pi * y
    noise = generator.choice([0.03, 0.1, 0.2])
    x = np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1) / 1.6
    return (x + generator.normal(size=x.shape) * noise).astype(np.float32), y, 800


@cache
def _documentation() -> np.ndarray:
    """Python's own help texts as letter numbers."""
    from pydoc_data.topics import topics

    text = " ".join(" ".join(topics[name].lower().split(" ")) for name in sorted(topics))
    table = {letter: place for place, letter in enumerate(_LETTERS)}
    return np.array([table[letter] for letter in text if letter in table])


def _text(seed: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Windows of letters; the class is the letter that follows."""
    letters = _documentation()
    starts = np.random.default_rng(3000 + seed).choice(len(letters) - WINDOW, 9000, replace=False)
    windows = letters[starts[:, None] + np.arange(WINDOW + 1)]
    return windows[:, :-1].astype(np.int64), windows[:, -1], 800


LETTERS = len(_LETTERS)
_LOADERS: dict[str, Callable[[int], tuple[np.ndarray, np.ndarray, int]]] = {
    "digits": _digits,
    "wine": _wine,
    "blobs": _blobs,
    "cancer": _cancer,
    "spirals": _spirals,
    "text": _text,
}
