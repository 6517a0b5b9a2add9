"""Which items of a data set are read: some of those that a sampler yields, without walking through all."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import Any

import numpy as np
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, SequentialSampler

_LISTED = 2**20  # so many numbers are shuffled to choose some
_MOST = 2**17  # keys taken from a sampler, which may be endless
_SECONDS = 3.0  # likewise, once there are enough


def chosen_keys(loader: DataLoader[Any], count: int, generator: np.random.Generator) -> list[Any]:
    """Keys of the items to read from a loader's data set, each once, in random order.

    Where the sampler yields every item it is not asked, so that the size of the data costs nothing; of others
    the first hundred thousand keys or so stand for all.

    Args:
        loader: of a data set with keys.
        count: number of keys.
        generator: chooses among them.

    Raises:
        ValueError: the loader yields no batch.
    """
    if _takes_every_item(loader):
        size = len(loader.sampler.data_source)  # type: ignore[attr-defined]
        if size and not (loader.drop_last and size < (loader.batch_size or 1)):
            return chosen_places(size, count, generator)
        keys: list[Any] = []
    else:
        keys = _different(_yielded(loader), 4 * count)
    if not keys:
        why = " (drop_last=True drops the only one)" if loader.drop_last else ""
        raise ValueError(f"the held-out data are empty: their DataLoader yields no batch{why}")
    return [keys[place] for place in chosen_places(len(keys), count, generator)]


def chosen_places(size: int, count: int, generator: np.random.Generator) -> list[int]:
    """Different whole numbers below ``size`` in random order; what comes first does not depend on ``count``.

    Example:
        >>> import numpy as np
        >>> from foldmon.folding.data.keys import chosen_places
        >>> sorted(chosen_places(5, 9, np.random.default_rng(0)))
        [0, 1, 2, 3, 4]
        >>> len(set(chosen_places(300_000_000, 9, np.random.default_rng(0))))
        9
    """
    if size <= _LISTED:
        return generator.permutation(size)[:count].tolist()  # type: ignore[no-any-return]
    chosen: dict[int, None] = {}
    while len(chosen) < count:
        chosen[int(generator.integers(size))] = None
    return list(chosen)


def _takes_every_item(loader: DataLoader[Any]) -> bool:
    batches = loader.batch_sampler
    plain = batches is None or (type(batches) is BatchSampler and batches.sampler is loader.sampler)
    return plain and type(loader.sampler) in (SequentialSampler, RandomSampler)


def _yielded(loader: DataLoader[Any]) -> Iterator[Any]:
    if loader.batch_sampler is None:
        return iter(loader.sampler)
    return chain.from_iterable(loader.batch_sampler)


def _different(keys: Iterable[Any], enough: int) -> list[Any]:
    """Each key once: a path from an input to itself is none. Numbers are ascending."""
    began, found = time.perf_counter(), dict[Any, Any]()
    for count, key in enumerate(islice(keys, _MOST)):
        plain = _hashable(key)
        found.setdefault(plain, plain if isinstance(plain, int) else key)
        if count % 256 == 0 and len(found) >= enough and time.perf_counter() - began > _SECONDS:
            break
    if all(isinstance(plain, int) for plain in found):
        return sorted(found)
    return list(found.values())


def _hashable(key: Any) -> Any:
    if isinstance(key, np.integer | int) or (isinstance(key, Tensor | np.ndarray) and key.ndim == 0):
        return int(key)
    if isinstance(key, tuple | list):
        return tuple(map(_hashable, key))
    if isinstance(key, dict):
        return tuple((name, _hashable(value)) for name, value in key.items())
    return key if isinstance(key, str | float) else repr(key)
