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


def _shapes(seed: int) -> tuple[np.ndarray, np.ndarray, int]:
    """8 x 8 pictures of a square, a cross, a slash or a bar, anywhere, in noise."""
    generator = np.random.default_rng(4000 + seed)
    square = np.ones((4, 4)) - np.pad(np.ones((2, 2)), 1)
    cross = np.eye(4) + np.eye(4)[::-1]
    slash = np.eye(4)
    bar = np.zeros((4, 4))
    bar[1] = 1
    forms = np.stack([square, cross, slash, bar])
    y = generator.integers(4, size=2400)
    noise = generator.choice([0.3, 0.6, 0.9])
    x = generator.normal(size=(2400, 8, 8)) * noise
    for picture, form, (row, column) in zip(x, forms[y], generator.integers(5, size=(2400, 2)), strict=True):
        picture[row : row + 4, column : column + 4] += form
    return x.reshape(2400, 64).astype(np.float32), y, 800


def _shells(seed: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Concentric shells of a Gaussian in ten dimensions."""
    from sklearn.datasets import make_gaussian_quantiles

    x, y = make_gaussian_quantiles(n_samples=2400, n_features=10, n_classes=3, random_state=seed)
    return x.astype(np.float32), y, 800


def _columns(seed: int) -> tuple[np.ndarray, np.ndarray, int]:
    """A table of forty columns, most of which say nothing."""
    from sklearn.datasets import make_classification

    separation = np.random.default_rng(5000 + seed).choice([0.7, 1.2, 2.0])
    x, y = make_classification(
        n_samples=2000, n_features=40, n_informative=6, n_redundant=6, n_classes=3,
        class_sep=separation, flip_y=0.02, random_state=seed,
    )  # fmt: skip
    return _standardized(x), y, 700


def _patches(seed: int) -> tuple[np.ndarray, np.ndarray, int]:
    """8 x 8 patches of two colour photographs; the class is the photograph and the third of its height."""
    from sklearn.datasets import load_sample_images

    parts, classes = [], []
    for number, picture in enumerate(load_sample_images().images):
        high, wide = picture.shape[0] // 8, picture.shape[1] // 8
        cut = picture[: high * 8, : wide * 8].reshape(high, 8, wide, 8, 3).transpose(0, 2, 4, 1, 3)
        parts.append(cut.reshape(high * wide, -1))
        classes.append(3 * number + np.repeat(np.arange(high) * 3 // high, wide))
    rows = np.random.default_rng(6000 + seed).choice(sum(map(len, parts)), 2600, replace=False)
    x = np.concatenate(parts)[rows] / 64 - 2
    return x.astype(np.float32), np.concatenate(classes)[rows], 900


def _diabetes(seed: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Disease progression in thirds, from ten columns."""
    from sklearn.datasets import load_diabetes

    x, progress = load_diabetes(return_X_y=True)
    return _standardized(x), np.digitize(progress, np.quantile(progress, (1 / 3, 2 / 3))), 150


def _tones(seed: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Sixty samples of a tone of one of five pitches, at any phase, beside another tone, in noise."""
    generator = np.random.default_rng(7000 + seed)
    y = generator.integers(5, size=2400)
    time = np.arange(60)

    def wave(pitch: np.ndarray) -> np.ndarray:
        phase = generator.uniform(0, 2 * np.pi, size=(2400, 1))
        wave: np.ndarray = np.sin(pitch[:, None] * time + phase)
        return wave

    own = wave(0.35 * 1.25**y * generator.uniform(0.95, 1.05, size=2400))
    other = wave(generator.uniform(1.2, 2.5, size=2400))
    noise = generator.choice([0.4, 0.8, 1.2])
    return (own + 0.7 * other + generator.normal(size=own.shape) * noise).astype(np.float32), y, 800


def _teacher(seed: int) -> tuple[np.ndarray, np.ndarray, int]:
    """What a random network of one hidden layer says of Gaussian inputs, with noise on its outputs."""
    generator = np.random.default_rng(8000 + seed)
    x = generator.normal(size=(2600, 15))
    hidden = np.tanh(x @ generator.normal(size=(15, 30)) / 2)
    logits = hidden @ generator.normal(size=(30, 4))
    noise = generator.choice([0.0, 0.5, 1.5])
    return x.astype(np.float32), (logits + generator.normal(size=logits.shape) * noise).argmax(1), 800


def _brackets(seed: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Opening and closing brackets among letters; the class is how deep they nest, up to three."""
    generator = np.random.default_rng(9000 + seed)
    up, down = _LETTERS.index("("), _LETTERS.index(")")
    kinds = generator.choice(3, p=(0.35, 0.35, 0.3), size=(6000, WINDOW))
    depth, deepest = np.zeros(6000, int), np.zeros(6000, int)
    for kind in kinds.T:
        depth = np.maximum(depth + (kind == 0) - (kind == 1), 0)
        deepest = np.maximum(deepest, depth)
    letters = generator.integers(1, 27, size=kinds.shape)
    x = np.choose(kinds, [np.full_like(kinds, up), np.full_like(kinds, down), letters])
    return x.astype(np.int64), np.minimum(deepest, 3), 800


LETTERS = len(_LETTERS)
_LOADERS: dict[str, Callable[[int], tuple[np.ndarray, np.ndarray, int]]] = {
    "digits": _digits,
    "wine": _wine,
    "blobs": _blobs,
    "cancer": _cancer,
    "spirals": _spirals,
    "text": _text,
    "shapes": _shapes,
    "shells": _shells,
    "columns": _columns,
    "patches": _patches,
    "diabetes": _diabetes,
    "tones": _tones,
    "teacher": _teacher,
    "brackets": _brackets,
}
