"""Held-out data of every common shape, read once into inputs and labels."""

from __future__ import annotations

import math
import random
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, default_collate

from foldmon.folding.data.labels import HeldOut, joined_labels, to_labels
from foldmon.folding.data.trees import batch_size, map_tensors, to_tensors
from foldmon.folding.undisturbed.random_state import preserved_random_state
from foldmon.torch_internals import pytree

SECONDS = 3.0
"""Within which reading more inputs than the pairs need comes to an end."""
_TARGET_KEYS = ("labels", "label", "target", "targets")


class Reading:
    """Held-out data in the course of being read: some first, and more of them on demand.

    Args:
        items: what there is to read, in the order of reading.
        collate: joins items.
        size: number of inputs in an item.

    Attributes:
        first: the inputs that :func:`reading` was asked for.
    """

    first: HeldOut

    def __init__(
        self,
        items: Iterable[Any],
        collate: Callable[[list[Any]], HeldOut],
        size: Callable[[Any], int] = lambda item: 1,
    ) -> None:
        self._items, self._collate, self._size = iter(items), collate, size
        self._read: list[Any] = []
        self._count = 0
        self._began = time.perf_counter()

    def begin(self, wanted: int) -> None:
        """Read the first ones, however long that takes.

        Raises:
            ValueError: there are none.
        """
        self._take(wanted, math.inf)
        if not self._read:
            raise ValueError("the held-out data are empty: iterating them yields nothing")
        self.first = self._collate(self._read)

    def more(self, wanted: int, seconds: float = SECONDS) -> HeldOut:
        """The first ones, as its first rows, and more up to about ``wanted`` where they are read in time.

        It stays at the first ones where more of them cannot be joined with these.

        Args:
            wanted: number of inputs.
            seconds: within which all reading ends, the first included.
        """
        before = len(self._read)
        self._take(wanted, self._began + seconds)
        if len(self._read) == before:
            return self.first
        every = self._collate(self._read)
        # Padded to another length they are all there, of differing shapes the commonest ones alone.
        kept = _shapes(every.inputs) == _shapes(self.first.inputs) or len(every) == self._count
        return every if kept and len(every) > len(self.first) else self.first

    def _take(self, wanted: int, until: float) -> None:
        while self._count < wanted and time.perf_counter() < until:
            item = next(self._items, self)
            if item is self:
                break
            self._read.append(item)
            self._count += self._size(item)


@contextmanager
def reading(data: Any, wanted: int, generator: np.random.Generator) -> Iterator[Reading]:
    """Read from a loader, a data set, inputs or (inputs, labels), ``wanted`` inputs first.

    The data set is read directly, at indices that the loader's own sampler yields; the loader is never
    iterated, so that no worker starts. Whatever the sampler and the data set's own code draw comes from
    generators seeded by ``generator``, so the same seed reads the same inputs; global random states, and
    those of the generators that the loader or its samplers hold, are the same after the block.

    Raises:
        TypeError: the data are of no such kind.
        ValueError: the data are empty.
    """
    with preserved_random_state(), _seeded(data, int(generator.integers(2**31))):
        source = _opened(data, wanted, generator)
        source.begin(wanted)
        yield source


def _opened(data: Any, wanted: int, generator: np.random.Generator) -> Reading:
    if isinstance(data, DataLoader):
        return _from_loader(data, wanted, generator)
    if isinstance(data, IterableDataset):
        return _one_by_one(data, default_collate)
    if isinstance(data, Dataset):
        return _from_dataset(data, None, default_collate, wanted, generator)
    return Reading([data], lambda items: _from_arrays(items[0]), lambda item: sys.maxsize)


@contextmanager
def _seeded(data: Any, seed: int) -> Iterator[None]:
    """Seed the CPU's global generators and those a loader holds; put the loader's own ones back."""
    random.seed(seed)
    np.random.seed(seed)
    # Not torch.manual_seed, which would also seed devices, and for ones not yet in use irrevocably.
    torch.default_generator.manual_seed(seed)
    held = _generators(data) if isinstance(data, DataLoader) else []
    states = [(generator, generator.get_state()) for generator in held]
    for generator in held:
        generator.manual_seed(seed)
    try:
        yield
    finally:
        for generator, state in states:
            generator.set_state(state)


def _generators(loader: DataLoader[Any]) -> list[torch.Generator]:
    holders = [loader, loader.sampler, loader.batch_sampler, getattr(loader.batch_sampler, "sampler", None)]
    held = [getattr(holder, "generator", None) for holder in holders]
    return list({id(g): g for g in held if isinstance(g, torch.Generator)}.values())


def _from_loader(loader: DataLoader[Any], wanted: int, generator: np.random.Generator) -> Reading:
    dataset = loader.dataset
    batched = loader.batch_sampler is not None or loader.batch_size is not None
    if isinstance(dataset, IterableDataset):
        if batched:
            return _one_by_one(dataset, loader.collate_fn)
        return _batch_by_batch(loader.collate_fn(batch) for batch in dataset)
    if not batched:
        # Without automatic batching each item of the data set is a batch already.
        return _batch_by_batch(loader.collate_fn(dataset[index]) for index in loader.sampler)
    sampler: Iterable[Any] = loader.sampler if loader.batch_sampler is None else loader.batch_sampler
    drawn = [np.atleast_1d(np.asarray(index)) for index in sampler]
    if not drawn:
        raise ValueError(
            "the held-out data are empty: their DataLoader yields no batch"
            + (" (drop_last=True drops the only one)" if getattr(loader, "drop_last", False) else "")
        )
    return _from_dataset(dataset, np.concatenate(drawn), loader.collate_fn, wanted, generator)


def _from_dataset(
    dataset: Dataset[Any],
    indices: npt.NDArray[Any] | None,
    collate: Any,
    wanted: int,
    generator: np.random.Generator,
) -> Reading:
    if indices is None:
        indices = np.arange(len(dataset))  # type: ignore[arg-type]
    if len(indices) == 0:
        raise ValueError("the held-out data are empty: the data set has length 0")
    # A sampler may yield an input twice, but a path from an input to itself is none.
    places = _places(np.unique(indices), wanted, generator)
    return _one_by_one((dataset[int(place)] for place in places), collate)


def _places(indices: npt.NDArray[Any], wanted: int, generator: np.random.Generator) -> Iterator[Any]:
    """``wanted`` of the indices, and on demand the others in random order, which is drawn only then."""
    if len(indices) <= wanted:
        yield from indices
        return
    chosen = np.sort(generator.choice(indices, size=wanted, replace=False))
    yield from chosen
    yield from generator.permutation(np.delete(indices, np.searchsorted(indices, chosen)))


def _one_by_one(items: Iterable[Any], collate: Any) -> Reading:
    return Reading(items, lambda read: _collated(collate, read))


def _batch_by_batch(batches: Iterable[Any]) -> Reading:
    return Reading(batches, _joined, lambda batch: len(_split(batch)))


def _collated(collate: Any, items: list[Any]) -> HeldOut:
    try:
        return _split(collate(items))
    except RuntimeError:
        # Items of differing lengths, for batches of one: what torch stacks must be equally large.
        return _joined([collate([item]) for item in items])


def _joined(batches: list[Any]) -> HeldOut:
    """Ready-made batches as one; where shapes differ, those of the commonest."""
    parts: dict[Any, list[HeldOut]] = {}
    for batch in batches:
        part = _split(batch)
        parts.setdefault(_shapes(part.inputs), []).append(part)
    alike = max(parts.values(), key=lambda group: sum(map(len, group)))
    count = sum(len(part) for group in parts.values() for part in group)
    if sum(map(len, alike)) < 2 <= count:
        raise ValueError(
            f"no two of {count} held-out inputs have the same shape, and a line joins equal shapes only; "
            "pad or crop them in the DataLoader's collate_fn"
        )
    first, *rest = [part.inputs for part in alike]
    inputs = map_tensors(lambda *tensors: torch.cat(tensors), first, *rest)
    return HeldOut(inputs, joined_labels([part.labels for part in alike]))


def _shapes(inputs: Any) -> tuple[tuple[int, ...], ...]:
    """Shapes of the tensors of one input."""
    return tuple(tuple(t.shape[1:]) for t in pytree.tree_leaves(inputs) if isinstance(t, Tensor))


def _from_arrays(data: Any) -> HeldOut:
    if hasattr(data, "to_numpy"):  # a table of pandas
        data = data.to_numpy()
    if isinstance(data, tuple | list) and len(data) == 2:
        inputs, labels = data
        return _labelled(to_tensors(inputs), labels)
    if isinstance(data, Tensor | np.ndarray | dict | tuple | list) or hasattr(data, "keys"):
        return _split(data) if hasattr(data, "keys") else _checked(HeldOut(to_tensors(data), None))
    raise TypeError(
        f"held-out data of type {type(data).__name__} cannot be read; pass a DataLoader, a Dataset, "
        "inputs, or (inputs, labels), where inputs are a tensor or array, or a tuple or dict of them"
    )


def _split(batch: Any) -> HeldOut:
    """Part a batch into the model's inputs and the classes."""
    if hasattr(batch, "keys"):
        items = dict(batch)
        targets = [items.pop(key) for key in _TARGET_KEYS if key in items]
        return _labelled(to_tensors(items), targets[0] if targets else None)
    if isinstance(batch, tuple | list):
        if len(batch) == 1:
            return _checked(HeldOut(to_tensors(batch[0]), None))
        inputs = batch[0] if len(batch) == 2 else tuple(batch[:-1])
        return _labelled(to_tensors(inputs), batch[-1])
    return _checked(HeldOut(to_tensors(batch), None))


def _labelled(inputs: Any, labels: Any) -> HeldOut:
    return _checked(HeldOut(inputs, to_labels(labels, batch_size(inputs))))


def _checked(held_out: HeldOut) -> HeldOut:
    if len(held_out) == 0:
        raise ValueError("the held-out data are empty: pass at least two inputs")
    return held_out
