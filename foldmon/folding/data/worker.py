"""Held-out data read in a worker process, as the loader that they belong to would read them."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from foldmon.folding.data.labels import HeldOut
from foldmon.folding.data.reading import Amounts, Source, read


def read_in_worker(
    loader: DataLoader[Any], source: Source, amounts: Amounts, seed: int
) -> tuple[HeldOut, HeldOut]:
    """What :func:`foldmon.folding.data.reading.read` gives, read by one worker of the loader's kind.

    The worker runs the loader's ``worker_init_fn`` and reads with a data set of its own, so that whatever it
    opens, draws or uses up is its own too. The loader itself is not iterated, and no worker of it starts.

    Args:
        loader: that says how its workers start.
        source: of the loader's data.
        amounts: how much to read.
        seed: of the worker's generators.

    Raises:
        ValueError: as of ``read``, and where no worker can read.
    """
    reader = DataLoader(
        _Reads(source, amounts),
        batch_size=None,
        num_workers=1,
        prefetch_factor=1,
        worker_init_fn=_Begins(loader.worker_init_fn, source.dataset),
        multiprocessing_context=loader.multiprocessing_context,
        generator=torch.Generator().manual_seed(seed),
    )
    try:
        found = pickle.loads(next(iter(reader)))
    except Exception as error:
        raise ValueError(
            f"the held-out data could not be read by a worker of their DataLoader: {type(error).__name__}: "
            f"{error}; iterating the loader fails likewise: mend it, or pass (inputs, labels)"
        ) from error
    if isinstance(found, str):
        raise ValueError(found)
    first, every = found
    return first, every


class _Reads(IterableDataset[bytes]):
    """Yields what there is to read at once, as bytes: shared memory may be small, and is held as long."""

    def __init__(self, source: Source, amounts: Amounts) -> None:
        self._source, self._amounts = source, amounts

    def __iter__(self) -> Iterator[bytes]:
        try:
            found: Any = read(self._source, self._amounts)
        except (ValueError, TypeError) as error:
            found = str(error)
        yield pickle.dumps(found, protocol=pickle.HIGHEST_PROTOCOL)


class _Begins:
    """Lets the loader's own function for beginning workers see the data set that it expects."""

    def __init__(self, own: Callable[[int], Any] | None, dataset: Any) -> None:
        self._own, self._dataset = own, dataset

    def __call__(self, worker: int) -> None:
        info = get_worker_info()
        if info is not None:
            object.__setattr__(info, "dataset", self._dataset)  # which is closed to assignments
        if self._own is not None:
            self._own(worker)
