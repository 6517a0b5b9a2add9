"""Held-out data of every common shape, read once into inputs and labels."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, default_collate

from foldmon.measure.random_state import preserved_random_state
from foldmon.measure.trees import batch_size, map_tensors, to_tensors

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

    Map-style data are indexed directly, at indices that the loader's own sampler yields; the loader is
    never iterated, so that no worker starts. Global random states, and those of the generators that the
    loader or its samplers hold, are the same afterwards.

    Raises:
        TypeError: the data are of no such kind.
        ValueError: the data are empty.
    """
    with preserved_random_state():
        if isinstance(data, DataLoader):
            return _from_loader(data, wanted, generator)
        if isinstance(data, IterableDataset):
            return _from_iterable(DataLoader(data, batch_size=min(wanted, 64)), wanted)
        if isinstance(data, Dataset):
            return _from_dataset(data, None, default_collate, wanted, generator)
        return _from_arrays(data)


def _from_loader(loader: DataLoader[Any], wanted: int, generator: np.random.Generator) -> HeldOut:
    if isinstance(loader.dataset, IterableDataset):
        with _kept_generators(loader):
            # A copy without workers: the user's own may be persistent, and belong to the user.
            bare = DataLoader(loader.dataset, loader.batch_size, collate_fn=loader.collate_fn)
            return _from_iterable(bare, wanted)
    with _kept_generators(loader):
        sampler = loader.batch_sampler if loader.batch_sampler is not None else loader.sampler
        drawn = [np.atleast_1d(np.asarray(index)) for index in sampler]
    if not drawn:
        raise ValueError(
            "the held-out data are empty: their DataLoader yields no batch"
            + (" (drop_last=True drops the only one)" if getattr(loader, "drop_last", False) else "")
        )
    collate = loader.collate_fn if loader.batch_size is not None else default_collate
    return _from_dataset(loader.dataset, np.concatenate(drawn), collate, wanted, generator)


@contextmanager
def _kept_generators(loader: DataLoader[Any]) -> Iterator[None]:
    """Put back the state of every torch generator that the loader and its samplers hold."""
    holders = [loader, loader.sampler, loader.batch_sampler]
    holders += [getattr(loader.batch_sampler, "sampler", None)]
    held = [getattr(holder, "generator", None) for holder in holders]
    states = [(g, g.get_state()) for g in held if isinstance(g, torch.Generator)]
    try:
        yield
    finally:
        for held_generator, state in states:
            held_generator.set_state(state)


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
    # Sorted, so that the draw does not depend on the order in which a shuffling sampler yields them.
    indices = np.sort(indices)
    if len(indices) > wanted:
        indices = np.sort(generator.choice(indices, size=wanted, replace=False))
    batch = collate([dataset[int(index)] for index in indices])
    return _split(batch)


def _from_iterable(loader: DataLoader[Any], wanted: int) -> HeldOut:
    parts: list[HeldOut] = []
    for batch in loader:
        parts.append(_split(copy.copy(batch)))
        if sum(map(len, parts)) >= wanted:
            break
    if not parts:
        raise ValueError("the held-out data are empty: iterating them yields nothing")
    first, *rest = [part.inputs for part in parts]
    inputs = map_tensors(lambda *tensors: torch.cat(tensors), first, *rest)
    labels = [part.labels for part in parts if part.labels is not None]
    return HeldOut(inputs, np.concatenate(labels) if len(labels) == len(parts) else None)


def _from_arrays(data: Any) -> HeldOut:
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
    values = labels.detach().cpu().numpy() if isinstance(labels, Tensor) else np.asarray(labels)
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
