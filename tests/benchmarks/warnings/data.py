"""Tasks of the benchmark: a pool to train on and a large, clean validation set, from real data or drawn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor

from tests.benchmarks.warnings.packages import WORDS, arrays

LETTERS = " abcdefghijklmnopqrstuvwxyz.,'`()=:\n"
POOL, VALIDATION, TEXTS = 8000, 2000, 600
"""Most examples of a training pool and of a validation set, and of one with a target at each letter."""
_CONTEXT = 12  # letters before the one to tell
_WINDOW = 9  # words around the one whose part of speech is told
_SENTENCE = 32  # letters at once


@dataclass(frozen=True)
class Pool:
    """All examples of a task.

    Attributes:
        x, y: inputs and targets; y of integers are classes, of shape (N, T) one for each of T places.
        shape: (channels, height, width) of pictures, else None.
        vocabulary: number of tokens, 0 where x are numbers.
        place: of the token that the class is of; None where each has one.
        domain: shape (N,), of two kinds of example the one to validate on where they are held apart.
    """

    x: np.ndarray
    y: np.ndarray
    shape: tuple[int, int, int] | None = None
    vocabulary: int = 0
    place: int | None = -1
    domain: np.ndarray | None = None

    @property
    def classes(self) -> int:
        """Number of classes, 0 for a regression."""
        return int(self.y.max()) + 1 if self.y.dtype.kind in "iu" else 0


@dataclass(frozen=True)
class Data:
    """A task's examples, split.

    Attributes:
        task: what they were drawn from.
        x, y: to train on.
        x_val, y_val: the validation set, clean.
    """

    task: Pool
    x: Tensor
    y: Tensor
    x_val: Tensor
    y_val: Tensor


def load(name: str, seed: int, *, domains: bool = False) -> Data:
    """The task of that name, split by the seed; ``domains``: by its two kinds of example, where there are."""
    task = pool(name)
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(task.x))[: POOL + VALIDATION]
    held = TEXTS if task.place is None else min(VALIDATION, len(order) * 2 // 5)
    val, train = order[:held], order[held:]
    if domains and task.domain is not None:
        order = generator.permutation(len(task.x))
        val = order[task.domain[order]][:VALIDATION]
        train = order[~task.domain[order]][:POOL]
    x, y = torch.from_numpy(task.x), torch.from_numpy(task.y)
    return Data(task, x[train], y[train], x[val], y[val])


@cache
def pool(name: str) -> Pool:
    """All examples of the task of that name, which is the same at every call."""
    return _TASKS[name]()


def _classes(y: np.ndarray) -> np.ndarray:
    return y.astype(np.int64)


def _pictures(name: str) -> Callable[[], Pool]:
    def make() -> Pool:
        found = arrays(name)
        x = found["x"].reshape(len(found["x"]), -1).astype(np.float32) / 128 - 1
        return Pool(x, _classes(found["y"]), shape=(1, 14, 14))

    return make


def _table(name: str) -> Callable[[], Pool]:
    def make() -> Pool:
        found = arrays(name)
        return Pool(
            found["x"].astype(np.float32).clip(-8, 8), _classes(found["y"]), domain=found.get("domain")
        )

    return make


def _amounts(name: str, logarithm: bool) -> Callable[[], Pool]:
    """A regression: the amount, or its logarithm, standardized. The second half of the rows came later."""

    def make() -> Pool:
        found = arrays(name)
        y = np.log(found["y"]) if logarithm else found["y"]
        later = np.arange(len(y)) >= len(y) // 2
        x = found["x"].astype(np.float32).clip(-8, 8)
        return Pool(x, ((y - y.mean()) / y.std()).astype(np.float32)[:, None], domain=later)

    return make


def _digits() -> Pool:
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    return Pool((x / 8 - 1).astype(np.float32), _classes(y), shape=(1, 8, 8))


def _patches() -> Pool:
    """8 x 8 patches of two colour photographs; the class is the photograph and the third of its height."""
    from sklearn.datasets import load_sample_images

    parts, classes, right = [], [], []
    for number, picture in enumerate(load_sample_images().images):
        high, wide = picture.shape[0] // 8, picture.shape[1] // 8
        cut = picture[: high * 8, : wide * 8].reshape(high, 8, wide, 8, 3).transpose(0, 2, 4, 1, 3)
        parts.append(cut.reshape(high * wide, -1))
        classes.append(3 * number + np.repeat(np.arange(high) * 3 // high, wide))
        right.append(np.tile(np.arange(wide) >= wide // 2, high))
    x = (np.concatenate(parts) / 64 - 2).astype(np.float32)
    return Pool(x, _classes(np.concatenate(classes)), shape=(3, 8, 8), domain=np.concatenate(right))


@cache
def _help() -> np.ndarray:
    """Python's own help texts as numbers of letters."""
    from pydoc_data.topics import topics

    text = " ".join(" ".join(topics[name].lower().split(" ")) for name in sorted(topics))
    table = {letter: place for place, letter in enumerate(LETTERS)}
    return np.array([table[letter] for letter in text if letter in table], np.int64)


def _cut(letters: np.ndarray, length: int, count: int) -> np.ndarray:
    """Windows of so many letters, in random order."""
    starts = np.random.default_rng(0).permutation(len(letters) - length)[:count]
    windows: np.ndarray = letters[starts[:, None] + np.arange(length)]
    return windows


def _letters() -> Pool:
    """Windows of help texts; the class is the letter that follows."""
    windows = _cut(_help(), _CONTEXT + 1, 30_000)
    return Pool(windows[:, :-1], windows[:, -1], vocabulary=len(LETTERS))


def _prose(letters: Callable[[], np.ndarray]) -> Callable[[], Pool]:
    """A language model's task: at each letter, the one that follows. Windows do not overlap."""

    def make() -> Pool:
        found = letters()
        count = len(found) // (_SENTENCE + 1)
        windows = found[: count * (_SENTENCE + 1)].reshape(count, -1)
        windows = windows[np.random.default_rng(0).permutation(count)[:30_000]]
        return Pool(windows[:, :-1], windows[:, 1:], vocabulary=int(found.max()) + 1, place=None)

    return make


def _novels() -> np.ndarray:
    """The Brown corpus as numbers of letters."""
    _, numbers = np.unique(arrays("brown")["letters"], return_inverse=True)
    return _classes(numbers)


def _tags() -> Pool:
    """Nine words of the Brown corpus; the class is the part of speech of the middle one."""
    brown = arrays("brown")
    starts = np.random.default_rng(0).permutation(len(brown["words"]) - _WINDOW)[:60_000]
    middle = starts + _WINDOW // 2
    windows = _classes(brown["words"][starts[:, None] + np.arange(_WINDOW)])
    fiction = brown["kinds"][middle] >= ord("k") - ord("a")
    tags = _classes(brown["tags"][middle])
    return Pool(windows, tags, vocabulary=WORDS, place=_WINDOW // 2, domain=fiction)


def _shells() -> Pool:
    """Concentric shells of a Gaussian in ten dimensions."""
    from sklearn.datasets import make_gaussian_quantiles

    x, y = make_gaussian_quantiles(n_samples=9000, n_features=10, n_classes=3, random_state=0)
    return Pool(x.astype(np.float32), _classes(y))


def _tones() -> Pool:
    """Sixty samples of a tone of one of five pitches, at any phase, beside another tone, in noise."""
    generator = np.random.default_rng(0)
    y = generator.integers(5, size=9000)

    def wave(pitch: np.ndarray) -> np.ndarray:
        wave: np.ndarray = np.sin(pitch[:, None] * np.arange(60) + generator.uniform(0, 2 * np.pi, (9000, 1)))
        return wave

    own = wave(0.35 * 1.25**y * generator.uniform(0.95, 1.05, size=9000))
    x = own + 0.7 * wave(generator.uniform(1.2, 2.5, size=9000)) + generator.normal(size=own.shape) * 0.8
    return Pool(x.astype(np.float32), _classes(y))


def _modular(modulus: int, combine: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Callable[[], Pool]:
    """All pairs of residues, and what is made of them: learned by heart first, understood much later.

    Power et al., "Grokking" (arXiv 2201.02177).
    """

    def make() -> Pool:
        first, second = np.divmod(np.arange(modulus**2), modulus)
        return Pool(np.stack([first, second], 1), combine(first, second) % modulus, vocabulary=modulus)

    return make


_TASKS: dict[str, Callable[[], Pool]] = {
    "mnist": _pictures("mnist"),
    "digits": _digits,
    "mail": _table("mail"),
    "cut": _table("cut"),
    "cells": _table("cells"),
    "letters": _letters,
    "shells": _shells,
    "sums": _modular(31, np.add),
    "price": _amounts("price", logarithm=True),
    "help": _prose(_help),
    "fashion": _pictures("fashion"),
    "patches": _patches,
    "leaves": _table("leaves"),
    "churn": _table("churn"),
    "tags": _tags,
    "tones": _tones,
    "products": _modular(31, lambda a, b: a * b + a),
    "ridership": _amounts("ridership", logarithm=False),
    "houses": _amounts("houses", logarithm=True),
    "novels": _prose(_novels),
}
