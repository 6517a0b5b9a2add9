"""Held-out pairs: which inputs the paths join."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from foldmon.folding.data.heldout import read_held_out
from foldmon.folding.data.labels import HeldOut
from foldmon.folding.data.numbers import required_whole
from foldmon.folding.data.reading import Amounts
from foldmon.folding.data.trees import (
    batch_size,
    describe,
    fingerprint,
    take_rows,
    to_tensors,
)
from foldmon.folding.data.values import ByContent
from foldmon.torch_internals import pytree

Kind = Literal["inter", "intra", "any"]


@dataclass(frozen=True, eq=False)
class Pairs(ByContent):
    """The ends of the paths.

    Attributes:
        first, second: inputs of the model, batch first: a tensor, or a tuple or dict of tensors, of
            equal structure and shapes; row p of each is path p's start and end.
        classes: shape (P, 2), the class of each end as an index into ``class_names``, or None.
        class_names: the labels' values, in ascending order.
        kind: how the pairs were chosen: ends of different classes ("inter"), of one class ("intra"),
            or regardless of class ("any").
    """

    first: Any
    second: Any
    classes: npt.NDArray[np.int64] | None = None
    class_names: tuple[str, ...] = ()
    kind: Kind = "any"

    def __post_init__(self) -> None:
        object.__setattr__(self, "first", to_tensors(self.first))
        object.__setattr__(self, "second", to_tensors(self.second))
        self._check()

    def _check(self) -> None:
        first, first_spec = pytree.tree_flatten(self.first)
        second, second_spec = pytree.tree_flatten(self.second)
        if first_spec != second_spec:
            raise ValueError(
                "the two inputs of the pairs differ in structure: "
                f"{describe(self.first)} and {describe(self.second)}; pass the same kind of input twice"
            )
        for a, b in zip(first, second, strict=True):
            if not isinstance(a, Tensor):
                continue
            if a.shape != b.shape:
                raise ValueError(
                    f"the shapes of the paired inputs do not match: {tuple(a.shape)} and "
                    f"{tuple(b.shape)}; row p of each must be an end of path p"
                )
            if a.device != b.device:
                raise ValueError(
                    f"the paired inputs are on different devices, {a.device} and {b.device}; "
                    "move both to one device"
                )
        if len(self) == 0:
            raise ValueError("the pairs are empty: pass at least one pair of inputs, batch first")
        if self.classes is not None and self.classes.shape != (len(self), 2):
            raise ValueError(f"classes must have shape ({len(self)}, 2), got {self.classes.shape}")

    def __len__(self) -> int:
        return batch_size(self.first)

    def fingerprint(self) -> str:
        """A short text that equal pairs share, to recognise them in a resumed run."""
        return fingerprint((self.first, self.second))

    def __getitem__(self, places: int | slice | Sequence[int] | npt.NDArray[Any] | Tensor) -> Pairs:
        """Some of the pairs, as pairs: of a number one, of a slice, whole numbers or a mask those.

        Raises:
            IndexError: no such pair.
            ValueError: no pair at all is chosen.

        Example:
            >>> import torch, foldmon
            >>> pairs = foldmon.Pairs(torch.zeros(5, 3), torch.ones(5, 3))
            >>> len(pairs[-1]), len(pairs[1:3]), len(pairs[[4, 0, 4]])
            (1, 2, 3)
        """
        if isinstance(places, Tensor):
            places = places.numpy(force=True)
        rows = np.ascontiguousarray(np.arange(len(self))[places])
        if rows.ndim != 1:
            raise IndexError("pairs lie in a row; take some by a number, a slice, a list or a mask")
        index = torch.from_numpy(rows)
        return Pairs(
            take_rows(self.first, index),
            take_rows(self.second, index),
            None if self.classes is None else self.classes[rows],
            self.class_names,
            self.kind,
        )


def draw_pairs(data: Any, count: int = 64, *, kind: Kind = "inter", seed: int = 0) -> Pairs:
    """Draw pairs of held-out inputs, the same ones for the same seed.

    Pairs are stratified over the pairs of classes that the data hold: each gets the same number, up
    to one. Without labels any two different inputs make a pair. No random state is touched: the draw has a
    generator of its own, and whatever reading moves, opens or draws is put back.

    Args:
        data: a ``DataLoader``, a ``Dataset``, anything else that yields batches or has a length and items,
            inputs, or ``(inputs, labels)``; inputs are a tensor or an array, or a tuple or dict of them,
            batch first. Of a loader's or data set's items the last element of a tuple is the target (the
            class where it is an integer), the others are the model's inputs; a number of the item behind it
            is left out. Of a dict it is "labels", "label", "target" or the like.
        count: number of pairs P.
        kind: "inter" joins inputs of different classes, "intra" of one class, "any" regardless.
            Without labels, "inter" falls back to "any".
        seed: of the draw.

    Returns:
        Pairs: ``count`` pairs on the CPU (or where the given tensors are).

    Raises:
        ValueError: the data are empty or hold too few inputs (or classes) for one pair.
        TypeError: nothing that could be read as held-out inputs.

    Example:
        >>> import torch, foldmon
        >>> inputs, labels = torch.randn(100, 8), torch.arange(100) % 4
        >>> pairs = foldmon.draw_pairs((inputs, labels), count=12)
        >>> len(pairs), bool((pairs.classes[:, 0] != pairs.classes[:, 1]).all())
        (12, True)
    """
    count, seed = required_whole("count", count), required_whole("seed", seed)
    generator = np.random.default_rng(seed)
    held_out, _ = read_held_out(data, amounts_for(count), generator)
    rows, kind = drawn_rows(held_out, count, kind, generator)
    return pairs_at(held_out, rows, kind)


def amounts_for(count: int, samples: int = 0) -> Amounts:
    """How many inputs are read to draw so many pairs from, and to follow beside them."""
    if count < 1:
        raise ValueError(f"count must be at least 1, got {count}")
    return Amounts(wanted=max(4 * count, 256), needed=2 * count, samples=samples)


def drawn_rows(
    held_out: HeldOut, count: int, kind: Kind, generator: np.random.Generator
) -> tuple[npt.NDArray[np.int64], Kind]:
    """The rows of both ends of each pair, shape (P, 2), and the kind that they are in the end."""
    if kind not in ("inter", "intra", "any"):
        raise ValueError(f'kind must be "inter", "intra" or "any", got {kind!r}')
    if len(held_out) < 2:
        raise ValueError(
            f"held-out data with {len(held_out)} input(s) cannot make a pair; pass at least two, "
            "better several of each class"
        )
    if kind == "intra" and held_out.classes is None:
        raise ValueError('kind="intra" needs labels: pass (inputs, labels) or a labelled data set')
    labels = None if kind == "any" else held_out.classes
    if labels is None:
        return _any_pairs(len(held_out), count, generator), "any"
    return _stratified_pairs(labels, count, kind, generator), kind


def pairs_at(held_out: HeldOut, rows: npt.NDArray[np.int64], kind: Kind) -> Pairs:
    """The pairs of the given rows, shape (P, 2)."""
    classes: npt.NDArray[np.int64] | None = None
    names: tuple[str, ...] = ()
    if held_out.classes is not None:
        values, codes = np.unique(held_out.classes, return_inverse=True)
        if len(values) > rows.size:  # most of them are no end's
            values, codes = np.unique(held_out.classes[rows], return_inverse=True)
            classes = codes.reshape(rows.shape).astype(np.int64)
        else:
            classes = codes.reshape(-1)[rows].astype(np.int64)
        names = tuple(str(value) for value in values)
    first, second = (held_out[np.ascontiguousarray(side)].inputs for side in rows.T)
    return Pairs(first, second, classes, names, kind)


def _any_pairs(size: int, count: int, generator: np.random.Generator) -> npt.NDArray[np.int64]:
    first = _cycled(size, count, generator)
    offset = generator.integers(1, size, size=count)
    return np.stack([first, (first + offset) % size], axis=1).astype(np.int64)


def _stratified_pairs(
    labels: npt.NDArray[Any], count: int, kind: Kind, generator: np.random.Generator
) -> npt.NDArray[np.int64]:
    codes = np.unique(labels, return_inverse=True)[1].reshape(-1)
    sizes = np.bincount(codes)
    members = np.split(np.argsort(codes, kind="stable"), np.cumsum(sizes)[:-1])
    if kind == "inter":
        strata = _pairs_of_classes(len(sizes), count, generator)
    else:
        several = np.flatnonzero(sizes > 1)
        if not len(several):
            raise ValueError("no class has two held-out inputs; pass more data")
        chosen = several[_cycled(len(several), count, generator)]
        strata = np.stack([chosen, chosen], axis=1)
    rows = np.empty((count, 2), dtype=np.int64)
    for a, b in np.unique(strata, axis=0):
        places = np.flatnonzero((strata == (a, b)).all(1))
        if kind == "inter":
            ends = np.stack(
                [side[_cycled(len(side), len(places), generator)] for side in (members[a], members[b])],
                axis=1,
            )
            # The measure may differ for the reversed path: start from either class equally often.
            turned = generator.permutation(len(places)) % 2 == int(generator.integers(2))
            ends[turned] = ends[turned][:, ::-1]
        else:
            ends = members[a][_any_pairs(len(members[a]), len(places), generator)]
        rows[places] = ends
    return rows


def _pairs_of_classes(classes: int, count: int, generator: np.random.Generator) -> npt.NDArray[np.int64]:
    """Pairs (a, b) of different classes, a < b, each as often as any other up to one, shape (count, 2)."""
    if classes < 2:
        raise ValueError(
            "the held-out data hold a single class, so no pair of different classes exists; "
            'pass data of at least two classes, or foldmon.draw_pairs(data, kind="any")'
        )
    # Numbered in the order (0, 1), (0, 2), ..., (1, 2), ...: where there are many, they are never listed.
    before = np.concatenate([[0], np.cumsum(np.arange(classes - 1, 0, -1))])
    chosen = _cycled(int(before[-1]), count, generator)
    a = np.searchsorted(before, chosen, side="right") - 1
    return np.stack([a, chosen - before[a] + a + 1], axis=1)


def _cycled(size: int, count: int, generator: np.random.Generator) -> npt.NDArray[np.int64]:
    """``count`` whole numbers below ``size``, each used equally often up to one, in random order."""
    if size > 64 * count:
        return generator.choice(size, count, replace=False).astype(np.int64)  # without listing all of them
    rounds = [generator.permutation(size) for _ in range(-(-count // size))]
    return np.concatenate(rounds)[:count].astype(np.int64)
