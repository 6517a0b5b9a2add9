"""Held-out inputs to follow beside the pairs, from one reading of the data."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from foldmon.folding.data.heldout import read_held_out
from foldmon.folding.data.labels import HeldOut
from foldmon.folding.data.pairs import Kind, Pairs, amounts_for, drawn_rows, pairs_at
from foldmon.folding.data.reading import Amounts
from foldmon.folding.data.readings import other_readings
from foldmon.folding.data.trees import map_tensors
from foldmon.torch_internals import pytree

Ints = npt.NDArray[np.int64]


def draw_panel(
    data: Any, count: int = 64, samples: int = 512, *, kind: Kind = "inter", seed: int = 0
) -> tuple[Pairs, HeldOut]:
    """Draw pairs as :func:`foldmon.draw_pairs` does, and held-out inputs to follow, the ends among them.

    The inputs represent the data: where there are more than ``samples`` of them, each class has the share
    that it has in the data, and of a class the ends of pairs come first. There are fewer where they would
    take more than ``reading.LARGEST`` bytes, or too long to read (``reading.SECONDS``).

    Args:
        data: as for ``draw_pairs``; of ``Pairs`` there are only the ends.
        count: number of pairs P.
        samples: number of inputs, at least 1.
        kind: of the pairs.
        seed: of the draw.

    Returns:
        The pairs, the same as without the inputs, and the inputs in random order.

    Raises:
        ValueError, TypeError: as of ``draw_pairs``.

    Example:
        >>> import torch
        >>> from foldmon.folding.data.drawing import draw_panel
        >>> inputs, labels = torch.randn(1000, 8), torch.arange(1000) % 4
        >>> pairs, held_out = draw_panel((inputs, labels), count=12, samples=100)
        >>> len(pairs), len(held_out), int((held_out.labels == 3).sum())
        (12, 100, 25)
    """
    generator = np.random.default_rng(seed)
    if isinstance(data, Pairs):
        ends = _ends(data)
        size = min(len(ends), Amounts(0, 0, samples).affordable(ends))
        return data, ends[generator.permutation(len(ends))[:size]]
    amounts = amounts_for(count, samples)
    first, held_out = read_held_out(data, amounts, generator)
    rows, kind = drawn_rows(first, count, kind, generator)
    wanted = amounts.affordable(first)
    chosen = representative(held_out.classes, len(held_out), rows.reshape(-1), wanted, generator)
    return pairs_at(first, rows, kind), held_out[generator.permutation(chosen)]


def other_panels(held_out: HeldOut, count: int, *, seed: int = 0) -> Iterator[tuple[Pairs, HeldOut]]:
    """Pairs and inputs for what the same data may mean as well, where a model does not take the inputs.

    Args:
        held_out: as it was understood first.
        count: number of pairs P.
        seed: of the draw.
    """
    for other in other_readings(held_out):
        with suppress(ValueError):
            rows, kind = drawn_rows(other, count, "inter", np.random.default_rng(seed))
            yield pairs_at(other, rows, kind), other


def representative(
    labels: npt.NDArray[Any] | None, size: int, preferred: Ints, wanted: int, generator: np.random.Generator
) -> Ints:
    """Some of the rows, each class as often among them as among all, the preferred ones of it first.

    Args:
        labels: shape (N,), None where there are no classes.
        size: N.
        preferred: rows, some of them more than once.
        wanted: number of rows to choose.
        generator: draws the others.

    Returns:
        Shape (min(N, wanted),), different rows.
    """
    if size <= wanted:
        return np.arange(size)
    order = generator.permutation(size)
    order = order[np.argsort(~np.isin(order, preferred), kind="stable")]
    if labels is None:
        return order[:wanted]
    codes = np.unique(labels, return_inverse=True)[1].reshape(-1)[order]
    by_class = np.argsort(codes, kind="stable")
    sizes = np.bincount(codes)
    rank = np.empty(size, dtype=np.int64)
    rank[by_class] = np.arange(size) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    chosen: Ints = order[rank < _quotas(sizes, wanted, generator)[codes]]
    return chosen


def _quotas(sizes: Ints, wanted: int, generator: np.random.Generator) -> Ints:
    """Whole numbers in proportion to the sizes: by largest remainders, equal ones by lot."""
    quotas, remainders = np.divmod(sizes * wanted, sizes.sum())
    lot = generator.permutation(len(sizes))
    largest = lot[np.argsort(-remainders[lot], kind="stable")]
    quotas[largest[: wanted - int(quotas.sum())]] += 1
    return quotas


def _ends(pairs: Pairs) -> HeldOut:
    """The different ends of the pairs, and their classes."""
    inputs = map_tensors(lambda first, second: torch.cat([first, second]), pairs.first, pairs.second)
    every = HeldOut(inputs, None if pairs.classes is None else _labels(pairs, pairs.classes))
    tensors = [leaf.cpu() for leaf in pytree.tree_leaves(inputs) if isinstance(leaf, Tensor)]
    seen = {
        tuple(_content(tensor[row]) for tensor in tensors): row for row in reversed(range(2 * len(pairs)))
    }
    return every[np.array(sorted(seen.values()))]


def _content(tensor: Tensor) -> bytes:
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def _labels(pairs: Pairs, classes: Ints) -> npt.NDArray[Any]:
    """The classes of all starts, then of all ends, by name; names of whole numbers are numbers again."""
    codes = classes.T.reshape(-1)
    if not pairs.class_names:
        return codes
    names = np.array(pairs.class_names)
    try:
        numbers = names.astype(np.float64)
    except ValueError:
        return names[codes]
    return numbers.astype(np.int64)[codes] if (numbers % 1 == 0).all() else names[codes]
