"""Held-out data of every common shape, read once and left as they were."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset

from foldmon.folding.data.bundles import fields_of
from foldmon.folding.data.graphs import is_graph, of_graphs
from foldmon.folding.data.keys import chosen_keys, chosen_places
from foldmon.folding.data.labels import HeldOut
from foldmon.folding.data.reading import Amounts, Source, as_it_is, collate_samples, read
from foldmon.folding.data.splitting import WAY_OUT, is_images, of_arrays
from foldmon.folding.data.worker import read_in_worker
from foldmon.folding.undisturbed.put_back import CannotPutBackError, put_back
from foldmon.folding.undisturbed.random_state import (
    drew,
    note_seeding,
    preserved_random_state,
    random_state,
)
from foldmon.folding.undisturbed.threads import other_threads
from foldmon.torch_internals import has_own_iteration, is_loader_at_work

_SPLITS = ("validation", "valid", "val", "dev", "eval", "test")
# Loaders of these packages go about in ways of their own, but yield what their data set and collate_fn give.
# Iterated by one process alone, or only in part, they would wait for others, or count what was read.
_ORDINARY = ("torch", "accelerate", "torchdata", "lightning")


def read_held_out(data: Any, amounts: Amounts, generator: np.random.Generator) -> tuple[HeldOut, HeldOut]:
    """Read from a loader, a data set, batches, inputs or (inputs, labels).

    Of data with keys, ones are read that the loader's own sampler yields, chosen among all at random; others
    are iterated, and no further than needed. Where the loader uses workers, a worker reads; else this
    process does, and what can be reached from the data is as before afterwards: attributes, containers,
    iterators, positions of files, and the states of all generators, the global ones included. Whatever
    they draw meanwhile is seeded by ``generator``, so the same seed reads the same inputs.

    Returns:
        Inputs for the pairs, and the same ones followed by more, see ``reading.read``.

    Raises:
        TypeError: the data are of no such kind.
        ValueError: the data are empty, an item cannot be read, or reading would use the data up.
    """
    seed, choice = (int(generator.integers(2**31)) for _ in range(2))
    data = validation_part(data)
    if hasattr(data, "__next__"):
        raise ValueError(_used_up(f"a {type(data).__name__} yields each batch only once"))
    loader = data if isinstance(data, DataLoader) and not _makes_batches_itself(data) else None
    in_worker = loader is not None and loader.num_workers > 0

    def reading() -> tuple[HeldOut, HeldOut]:
        source = _source(data, loader, amounts, np.random.default_rng(choice))
        if isinstance(source, HeldOut):
            return source, source
        if loader is not None and in_worker:
            return read_in_worker(loader, source, amounts, seed)
        return read(source, amounts)

    try:
        if other_threads():
            # Seeding would give them other numbers; where nothing is drawn there is no need to.
            with preserved_random_state(), put_back(*_owners(data, loader)):
                before = random_state()
                found = reading()
                if not drew(before):
                    return found
        with preserved_random_state(), put_back(*_owners(data, loader)), _seeded(loader, seed):
            return reading()
    except CannotPutBackError as error:
        raise ValueError(_used_up(str(error))) from error


def _used_up(why: str) -> str:
    return (
        f"reading these held-out data would use them up for training: {why}; pass (inputs, labels) of some "
        "of them, or a list of batches"
    )


def validation_part(data: Any) -> Any:
    """The part to validate on, of what holds it beside one for training (fastai), makes a loader of it
    (Lightning's data modules), or holds several data sets by name (Hugging Face): that of the usual name, or
    else the first."""
    if callable(make := getattr(data, "val_dataloader", None)):
        with preserved_random_state():
            loaders = make()
        return loaders[0] if isinstance(loaders, list | tuple) and loaders else loaders
    if isinstance(data, Mapping) and len(data) and all(map(_is_data_set, data.values())):
        others = [name for name in data if name != "train"] or ["train"]
        return data[next((name for name in _SPLITS if name in data), others[0])]
    if not isinstance(data, Dataset | Tensor) and hasattr(data, "train") and hasattr(data, "valid"):
        return data.valid
    return data


def _is_data_set(part: Any) -> bool:
    return isinstance(part, Dataset | DataLoader) or hasattr(part, "column_names")


def _makes_batches_itself(loader: DataLoader[Any]) -> bool:
    if not has_own_iteration(loader) or type(loader).__module__.partition(".")[0] in _ORDINARY:
        return False
    # One that lives on from epoch to epoch has begun, and can't be put back to where it was.
    return not any(is_loader_at_work(value) for name, value in vars(loader).items() if name != "_iterator")


def _owners(data: Any, loader: DataLoader[Any] | None) -> list[Any]:
    """What is used in reading."""
    if loader is None:
        return [] if isinstance(data, Tensor | np.ndarray) else [data]
    inside = [loader.sampler, loader.batch_sampler, loader.generator]
    return [*inside, loader.dataset, loader.collate_fn]


def _source(
    data: Any, loader: DataLoader[Any] | None, amounts: Amounts, choice: np.random.Generator
) -> Source | HeldOut:
    if loader is not None:
        return _of_loader(loader, amounts, choice)
    if isinstance(data, DataLoader):
        return Source(data, None, as_it_is, "batches")
    if isinstance(data, IterableDataset):
        return Source(data, None, collate_samples, "unknown")
    if isinstance(data, Dataset):
        return _of_rows(data, "samples", amounts, choice)
    if isinstance(data, Tensor | np.ndarray | tuple | dict | str | bytes) or hasattr(data, "to_numpy"):
        return of_arrays(data)
    if is_graph(data):
        return of_graphs([data])
    if isinstance(data, list):
        rows = len(data) > 0 and all(map(_is_item, data))
        return _of_rows(data, "unknown", amounts, choice) if rows and not is_images(data) else of_arrays(data)
    if hasattr(data, "keys"):
        return of_arrays(data)
    if hasattr(data, "__getitem__") and hasattr(data, "__len__"):
        return _of_rows(data, "unknown", amounts, choice)
    if hasattr(data, "__iter__"):
        return Source(data, None, collate_samples, "unknown")
    raise TypeError(f"held-out data of type {type(data).__name__} cannot be read; {WAY_OUT}")


def _is_item(thing: Any) -> bool:
    return isinstance(thing, tuple | list | dict) or is_graph(thing) or bool(fields_of(thing))


def _of_loader(loader: DataLoader[Any], amounts: Amounts, choice: np.random.Generator) -> Source:
    batched = loader.batch_sampler is not None or loader.batch_size is not None
    # Without automatic batching each item of the data set is a batch already.
    kind: Any = "samples" if batched else "batches"
    collate: Callable[[Any], Any] = loader.collate_fn
    if isinstance(loader.dataset, IterableDataset):
        return Source(loader.dataset, None, collate, kind)
    count = max(amounts.wanted, amounts.samples)
    return Source(loader.dataset, chosen_keys(loader, count, choice), collate, kind)


def _of_rows(rows: Any, kind: Any, amounts: Amounts, choice: np.random.Generator) -> Source:
    if len(rows) == 0:
        raise ValueError("the held-out data are empty: the data set has length 0")
    keys = chosen_places(len(rows), max(amounts.wanted, amounts.samples), choice)
    return Source(rows, keys, collate_samples, kind)


@contextmanager
def _seeded(loader: DataLoader[Any] | None, seed: int) -> Iterator[None]:
    """Seed the CPU's global generators and those a loader holds, which are put back elsewhere."""
    random.seed(seed)
    np.random.seed(seed)
    # Not torch.manual_seed, which would also seed devices, and for ones not yet in use irrevocably.
    torch.default_generator.manual_seed(seed)
    note_seeding()
    for generator in _generators(loader):
        generator.manual_seed(seed)
    yield


def _generators(loader: DataLoader[Any] | None) -> list[torch.Generator]:
    if loader is None:
        return []
    holders = [loader, loader.sampler, loader.batch_sampler, getattr(loader.batch_sampler, "sampler", None)]
    held = [getattr(holder, "generator", None) for holder in holders]
    return [generator for generator in held if isinstance(generator, torch.Generator)]
