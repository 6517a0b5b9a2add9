"""Reading from a source: some inputs first, more of them where that is cheap, and no further."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch.utils.data import default_collate

from foldmon.folding.data.bundles import fields_of
from foldmon.folding.data.graphs import is_graph
from foldmon.folding.data.labels import HeldOut
from foldmon.folding.data.splitting import is_sample, joined, shapes
from foldmon.folding.data.trees import describe, size_in_bytes
from foldmon.torch_internals import pytree

FEWEST = 512
"""Inputs that are worth a wait; more are followed where they cost next to nothing."""
SECONDS, SOON = 3.0, 1.0
"""Within which reading more inputs than the pairs need comes to an end, and once there are ``FEWEST``."""
LARGEST = 256 * 2**20
"""Bytes that the followed inputs may take."""
ENOUGH = 64 * 2**20
"""Bytes after which no more is read for the pairs than these need at least."""
TOO_MUCH = 2**30
"""Bytes after which two inputs of different classes are enough."""

Kind = Literal["samples", "batches", "unknown"]


@dataclass(frozen=True)
class Amounts:
    """How many inputs are wanted.

    Attributes:
        wanted: for the pairs, where they are small.
        needed: for the pairs, where they are large; of huge ones two are enough.
        samples: to follow, in all; 0 for none beside those read for the pairs.
    """

    wanted: int
    needed: int
    samples: int = 0

    def affordable(self, inputs: HeldOut) -> int:
        """Inputs to follow that take no more bytes than ``LARGEST``, and at least one."""
        return max(1, min(self.samples, LARGEST // max(size_in_bytes(inputs.inputs) // len(inputs), 1)))


@dataclass(frozen=True)
class Source:
    """Where held-out data are read from.

    Attributes:
        dataset: what has items: by key, or one after the other.
        keys: of the items to read, in order; None iterates.
        collate: joins samples to a batch, or makes ready ones fit for the model.
        kind: whether an item is one input with its label, or a batch of them; "unknown" shows in the first.
    """

    dataset: Any
    keys: Sequence[Any] | None
    collate: Callable[[Any], Any]
    kind: Kind

    def items(self) -> Iterator[tuple[Any, Any]]:
        """Key and item; without keys the item's place."""
        if self.keys is None:
            yield from enumerate(iter(self.dataset))
        else:
            yield from ((key, self.dataset[key]) for key in self.keys)


def read(source: Source, amounts: Amounts) -> tuple[HeldOut, HeldOut]:
    """Inputs for the pairs, and the same ones followed by more where they are wanted and read in time.

    There are no more than for the pairs where others cannot be joined with these.

    Raises:
        ValueError: there are none, an item cannot be read, or items cannot be joined.
    """
    reading = _Reading(source)
    try:
        first = reading.first(amounts)
        return first, reading.more(amounts.affordable(first)) if amounts.samples else first
    finally:
        reading.close()


class _Reading:
    def __init__(self, source: Source) -> None:
        self._source, self._items = source, source.items()
        self._kind: Kind = source.kind
        self._read: list[Any] = []
        self._count = self._bytes = 0
        self._key: Any = None
        self._began = time.perf_counter()

    def close(self) -> None:
        """Let go of what is being read."""
        self._items.close()  # type: ignore[attr-defined]

    def first(self, amounts: Amounts) -> HeldOut:
        """Inputs for the pairs, however long they take to read."""
        self._take(amounts.wanted, self._is_enough(amounts.needed))
        if not self._read:
            raise ValueError("the held-out data are empty: iterating them yields nothing")
        self._first = self._collated()
        if self._count < amounts.wanted and _is_one_class(self._first):
            self._take(amounts.wanted)  # its inputs are large, but pairs join different classes
            self._first = self._collated()
        return self._first

    def more(self, wanted: int) -> HeldOut:
        """The first ones, as its first rows, and more up to about ``wanted``."""
        before = len(self._read)
        self._take(wanted, self._is_late)
        if len(self._read) == before:
            return self._first
        try:
            every = self._collated()
        except ValueError:
            return self._first
        # Padded to another length they are all there, of differing shapes the commonest ones alone.
        kept = shapes(every.inputs) == shapes(self._first.inputs) or len(every) == self._count
        return every if kept and len(every) > len(self._first) else self._first

    def _is_enough(self, needed: int) -> Callable[[], bool]:
        return lambda: (
            (self._count >= needed and self._bytes >= ENOUGH)
            or (self._count >= 2 and self._bytes >= TOO_MUCH)
        )

    def _is_late(self) -> bool:
        return time.perf_counter() >= self._began + (SECONDS if self._count < FEWEST else SOON)

    def _take(self, wanted: int, ends: Callable[[], bool] = lambda: False) -> None:
        while self._count < wanted and not ends():
            try:
                found = next(self._items, None)
            except Exception as error:
                raise ValueError(self._cannot_read(error)) from error
            if found is None:
                break
            self._key, item = found
            if self._kind == "unknown":
                self._kind = "samples" if is_sample(item) else "batches"
            if self._source.kind == "batches":
                item = self._source.collate(item)
            self._read.append(item)
            self._count += 1 if self._kind == "samples" else len(joined([item]))
            self._bytes += size_in_bytes(item)

    def _cannot_read(self, error: Exception) -> str:
        keys, done = self._source.keys, len(self._read)
        which = f"item {keys[done]!r}" if keys is not None and done < len(keys) else f"item {done}"
        return (
            f"{which} of the held-out data ({type(self._source.dataset).__name__}) could not be read: "
            f"{type(error).__name__}: {error}; mend the data set, or pass (inputs, labels) that are at hand"
        )

    def _collated(self) -> HeldOut:
        if self._kind == "batches":
            return joined(self._read)
        try:
            return self._joined_samples()
        except Exception as error:
            if isinstance(error, ValueError) and "held-out" in str(error):
                raise  # said already
            raise ValueError(self._cannot_join(error)) from error

    def _joined_samples(self) -> HeldOut:
        try:
            return joined([self._source.collate(self._read)])
        except RuntimeError:
            # Items of differing lengths, for batches of one: what torch stacks must be equally large.
            return joined([self._source.collate([item]) for item in self._read])

    def _cannot_join(self, error: Exception) -> str:
        return (
            f"held-out items such as {describe(self._read[0])} (item {self._key!r}) cannot be joined to a "
            f"batch: {type(error).__name__}: {error}; pass a DataLoader with a collate_fn that does it, or "
            "(inputs, labels)"
        )


def _is_one_class(held_out: HeldOut) -> bool:
    return held_out.classes is not None and len(np.unique(held_out.classes)) < 2


def collate_samples(items: list[Any]) -> Any:
    """Samples as a batch: what torch's own collate does, for lists of numbers too.

    Example:
        >>> from foldmon.folding.data.reading import collate_samples
        >>> collate_samples([{"ids": [1, 2], "label": 0}, {"ids": [3, 4], "label": 1}])
        {'ids': tensor([[1, 2],
                [3, 4]]), 'label': tensor([0, 1])}
    """
    if all(map(is_graph, items)):
        return items
    return default_collate([_with_tensors(item) for item in items])


def as_it_is(batch: Any) -> Any:
    """A ready batch."""
    return batch


def _with_tensors(item: Any) -> Any:
    item = fields_of(item) or item
    if hasattr(item, "keys"):
        return {key: _with_tensors(item[key]) for key in item.keys() if item[key] is not None}  # noqa: SIM118
    if isinstance(item, tuple):
        return tuple(map(_with_tensors, item))
    if isinstance(item, list) and item and all(isinstance(leaf, int | float) for leaf in _leaves(item)):
        return torch.tensor(item, device="cpu")
    return item


def _leaves(item: Iterable[Any]) -> list[Any]:
    return pytree.tree_leaves(item)
