"""The user's data set, sampler and loader are as before, and go on to give what they would have given."""

from __future__ import annotations

import random
import sqlite3
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import BatchSampler, DataLoader, Dataset, IterableDataset, Sampler, get_worker_info

from foldmon.folding.data.drawing import draw_panel

INPUTS = torch.randn(64, 8, generator=torch.Generator().manual_seed(1))
LABELS = torch.arange(64) % 3
GENERATOR = np.random.default_rng(7)


class Lazy(Dataset[Any]):
    """Opens its file where it is first needed, and keeps it."""

    def __init__(self, path: Path, kind: str) -> None:
        self.path, self.kind, self.file = path, kind, None

    def __len__(self) -> int:
        return 64

    def __getitem__(self, index: int) -> Any:
        if self.file is None:
            self.file = self.open()
        assert self.read() == b"rows"
        return INPUTS[index], int(LABELS[index])

    def open(self) -> Any:
        if self.kind == "zip":
            return zipfile.ZipFile(self.path / "rows.zip")
        if self.kind == "sqlite":
            return sqlite3.connect(self.path / "rows.db")
        return (self.path / "rows").open("rb")

    def read(self) -> bytes:
        file: Any = self.file
        if self.kind == "zip":
            return bytes(file.read("rows"))
        if self.kind == "sqlite":
            return bytes(file.execute("select * from held").fetchone()[0])
        file.seek(0)
        return bytes(file.read())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "rows").write_bytes(b"rows")
    with zipfile.ZipFile(tmp_path / "rows.zip", "w") as archive:
        archive.writestr("rows", "rows")
    base = sqlite3.connect(tmp_path / "rows.db")
    base.execute("create table held (content blob)")
    base.execute("insert into held values (?)", (b"rows",))
    base.commit()
    base.close()
    return tmp_path


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("kind", ["file", "zip", "sqlite"])
def test_what_opens_in_workers_stays_closed_here(kind: str, workers: int, folder: Path) -> None:
    data = Lazy(folder, kind)
    draw_panel(DataLoader(data, 8, num_workers=workers))
    assert data.file is None
    assert len(list(DataLoader(data, 8, num_workers=2))) == 8


def test_a_lazy_data_set_still_goes_to_spawned_workers(folder: Path) -> None:
    loader = DataLoader(Lazy(folder, "file"), 32, num_workers=1, multiprocessing_context="spawn")
    draw_panel(loader)
    assert len(list(loader)) == 2


class NeedsItsWorker(Dataset[Any]):
    rows: Any = None

    def __len__(self) -> int:
        return 64

    def __getitem__(self, index: int) -> Any:
        return self.rows[index], int(LABELS[index])


def open_in_worker(worker: int) -> None:
    info = get_worker_info()
    assert info is not None
    info.dataset.rows = INPUTS


def test_the_function_that_begins_workers_is_run_in_one() -> None:
    data = NeedsItsWorker()
    _, held_out = draw_panel(DataLoader(data, 8, num_workers=2, worker_init_fn=open_in_worker))
    assert len(held_out) == 64
    assert data.rows is None


class Noisy(Dataset[Any]):
    def __init__(self) -> None:
        self.own, self.python = np.random.default_rng(0), random.Random(0)
        self.transform = Jitter()

    def __len__(self) -> int:
        return 64

    def __getitem__(self, index: int) -> Any:
        noise = self.own.random() + self.python.random() + GENERATOR.random()
        return self.transform(INPUTS[index]) + noise, int(LABELS[index])


class Jitter:
    def __init__(self) -> None:
        self.state = np.random.RandomState(3)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.state.rand()


class Shuffled(Sampler[int]):
    rng = np.random.default_rng(0)

    def __iter__(self) -> Iterator[int]:
        return iter(self.rng.permutation(64).tolist())

    def __len__(self) -> int:
        return 64


class Buckets(BatchSampler):
    def __init__(self) -> None:
        super().__init__(Shuffled(), 8, False)
        self.python, self.epoch = random.Random(1), 0

    def __iter__(self) -> Iterator[list[int]]:
        self.epoch += 1
        batches = list(super().__iter__())
        self.python.shuffle(batches)
        return iter(batches)


class Mixing:
    """A collate_fn with a generator of its own."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(5)

    def __call__(self, items: list[Any]) -> Any:
        share = self.rng.random()
        return torch.stack([x * share for x, _ in items]), torch.tensor([y for _, y in items])


def test_generators_of_data_set_sampler_batches_collate_fn_and_transform_stay() -> None:
    def epoch(watched: bool) -> list[torch.Tensor]:
        GENERATOR.bit_generator.state = np.random.default_rng(7).bit_generator.state
        Shuffled.rng = np.random.default_rng(0)
        batches = Buckets()
        loader = DataLoader(Noisy(), batch_sampler=batches, collate_fn=Mixing())
        if watched:
            draw_panel(loader)
            assert batches.epoch == 0
        return [x for x, _ in loader]

    assert all(torch.equal(a, b) for a, b in zip(epoch(False), epoch(True), strict=True))


class OnePass(IterableDataset[Any]):
    def __init__(self, rows: Iterator[Any]) -> None:
        self.rows = rows

    def __iter__(self) -> Iterator[Any]:
        return self.rows


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("kind", ["generator", "iterator", "map"])
def test_a_stream_that_can_be_taken_from_once_is_whole_afterwards(kind: str, workers: int) -> None:
    rows = [(INPUTS[i], int(LABELS[i])) for i in range(64)]
    streams: dict[str, Any] = {
        "generator": (row for row in rows), "iterator": iter(rows), "map": map(tuple, rows),
    }  # fmt: skip
    data = OnePass(streams[kind])
    draw_panel(DataLoader(data, 8, num_workers=workers), samples=20)
    assert torch.equal(torch.stack([x for x, _ in data]), INPUTS)


class FromFile(IterableDataset[Any]):
    def __init__(self, path: Path) -> None:
        self.file = path.open()

    def __iter__(self) -> Iterator[Any]:
        for line in self.file:
            yield torch.tensor([float(word) for word in line.split()]), len(line) % 2


@pytest.mark.parametrize("workers", [0, 1])
def test_an_open_file_is_read_from_where_it_was(workers: int, tmp_path: Path) -> None:
    path = tmp_path / "rows"
    path.write_text("".join(f"{i} {i + 1}\n" for i in range(200)))
    data = FromFile(path)
    draw_panel(DataLoader(data, 8, num_workers=workers))
    assert len(list(data)) == 200
