"""Held-out data of every common shape, read once into inputs and labels."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, default_collate

from foldmon.folding.data.trees import batch_size, map_tensors, to_tensors
from foldmon.folding.undisturbed.random_state import preserved_random_state
from foldmon.torch_internals import pytree

_TARGET_KEYS = ("labels", "label", "target", "targets")


@dataclass(frozen=True)
class HeldOut:
    """Inputs (batch first) and their classes, where known: shape (N,)."""

    inputs: Any
    labels: npt.NDArray[Any] | None

    def __len__(self) -> int:
        return batch_size(self.inputs)


def read_held_out(data: Any, wanted: int, generator: np.random.Generator) -> HeldOut:
    """Read about ``wanted`` inputs from a loader, a data set, inputs or (inputs, labels).

    The data set is read directly, at indices that the loader's own sampler yields; the loader is never
    iterated, so that no worker starts. Whatever the sampler and the data set's own code draw comes from
    generators seeded by ``generator``, so the same seed reads the same inputs; global random states, and
    those of the generators that the loader or its samplers hold, are the same afterwards.

    Raises:
        TypeError: the data are of no such kind.
        ValueError: the data are empty.
    """
    with preserved_random_state(), _seeded(data, int(generator.integers(2**31))):
        if isinstance(data, DataLoader):
            return _from_loader(data, wanted, generator)
        if isinstance(data, IterableDataset):
            return _from_iterable(data, default_collate, wanted)
        if isinstance(data, Dataset):
            return _from_dataset(data, None, default_collate, wanted, generator)
        return _from_arrays(data)


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


def _from_loader(loader: DataLoader[Any], wanted: int, generator: np.random.Generator) -> HeldOut:
    dataset = loader.dataset
    batched = loader.batch_sampler is not None or loader.batch_size is not None
    if isinstance(dataset, IterableDataset):
        if batched:
            return _from_iterable(dataset, loader.collate_fn, wanted)
        return _joined((loader.collate_fn(batch) for batch in dataset), wanted)
    if not batched:
        # Without automatic batching each item of the data set is a batch already.
        return _joined((loader.collate_fn(dataset[index]) for index in loader.sampler), wanted)
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
) -> HeldOut:
    if indices is None:
        indices = np.arange(len(dataset))  # type: ignore[arg-type]
    if len(indices) == 0:
        raise ValueError("the held-out data are empty: the data set has length 0")
    # A sampler may yield an input twice, but a path from an input to itself is none.
    indices = np.unique(indices)
    if len(indices) > wanted:
        indices = np.sort(generator.choice(indices, size=wanted, replace=False))
    return _collated(collate, [dataset[int(index)] for index in indices])


def _from_iterable(dataset: Iterable[Any], collate: Any, wanted: int) -> HeldOut:
    items = list(islice(dataset, wanted))
    if not items:
        raise ValueError("the held-out data are empty: iterating them yields nothing")
    return _collated(collate, items)


def _collated(collate: Any, items: list[Any]) -> HeldOut:
    try:
        return _split(collate(items))
    except RuntimeError:
        # Items of differing lengths, for batches of one: what torch stacks must be equally large.
        return _joined((collate([item]) for item in items), len(items))


def _joined(batches: Iterable[Any], wanted: int) -> HeldOut:
    """Ready-made batches, as many as hold ``wanted`` inputs; where shapes differ, those of the commonest."""
    parts: dict[Any, list[HeldOut]] = {}
    count = 0
    for batch in batches:
        part = _split(batch)
        parts.setdefault(_shapes(part.inputs), []).append(part)
        count += len(part)
        if count >= wanted:
            break
    if not parts:
        raise ValueError("the held-out data are empty: iterating them yields nothing")
    alike = max(parts.values(), key=lambda group: sum(map(len, group)))
    if sum(map(len, alike)) < 2 <= count:
        raise ValueError(
            f"no two of {count} held-out inputs have the same shape, and a line joins equal shapes only; "
            "pad or crop them in the DataLoader's collate_fn"
        )
    first, *rest = [part.inputs for part in alike]
    inputs = map_tensors(lambda *tensors: torch.cat(tensors), first, *rest)
    labels = [part.labels for part in alike if part.labels is not None]
    return HeldOut(inputs, np.concatenate(labels) if len(labels) == len(alike) else None)


def _shapes(inputs: Any) -> tuple[tuple[int, ...], ...]:
    """Shapes of the tensors of one input."""
    return tuple(tuple(t.shape[1:]) for t in pytree.tree_leaves(inputs) if isinstance(t, Tensor))


def _from_arrays(data: Any) -> HeldOut:
    if hasattr(data, "to_numpy"):  # a table of pandas
        data = data.to_numpy()
    if isinstance(data, tuple | list) and len(data) == 2:
        inputs, labels = data
        return _checked(HeldOut(to_tensors(inputs), _as_classes(labels)))
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
        return _checked(HeldOut(to_tensors(items), _as_classes(targets[0]) if targets else None))
    if isinstance(batch, tuple | list):
        if len(batch) == 1:
            return _checked(HeldOut(to_tensors(batch[0]), None))
        inputs = batch[0] if len(batch) == 2 else tuple(batch[:-1])
        return _checked(HeldOut(to_tensors(inputs), _as_classes(batch[-1])))
    return _checked(HeldOut(to_tensors(batch), None))


def _as_classes(labels: Any) -> npt.NDArray[Any] | None:
    """Labels as classes, shape (N,); None where they are no classes (regression targets, masks, ...)."""
    if labels is None:
        return None
    try:
        values = labels.detach().cpu().numpy() if isinstance(labels, Tensor) else np.asarray(labels)
    except ValueError:
        return None  # of differing shapes
    if values.dtype.kind == "O" and all(isinstance(value, str) for value in values.flat):
        values = values.astype(np.str_)
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    is_class = values.ndim == 1 and (values.dtype.kind in "iubUS" or bool(np.isin(values, (0.0, 1.0)).all()))
    return values if is_class else None


def _checked(held_out: HeldOut) -> HeldOut:
    if len(held_out) == 0:
        raise ValueError("the held-out data are empty: pass at least two inputs")
    if held_out.labels is not None and len(held_out.labels) != len(held_out):
        raise ValueError(
            f"{len(held_out)} held-out inputs but {len(held_out.labels)} labels; pass one label an input"
        )
    return held_out
