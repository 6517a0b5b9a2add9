"""Held-out data as people have them: streams, endless samplers, dicts, images, loaders of other libraries."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, Sampler, TensorDataset

from foldmon import draw_pairs
from foldmon.folding.data.drawing import draw_panel

INPUTS = torch.arange(40.0).reshape(40, 1).repeat(1, 3)  # input i is (i, i, i)
LABELS = torch.arange(40) % 4  # its class is i % 4
DATASET = TensorDataset(INPUTS, LABELS)
BATCHES = [(INPUTS[i : i + 10], LABELS[i : i + 10]) for i in range(0, 40, 10)]


class Rows:
    """Anything with a length and items by number, such as a data set of the Hugging Face library."""

    def __init__(self, *columns: Any, names: tuple[str, ...] = ()) -> None:
        self.columns, self.names = columns, names

    def __len__(self) -> int:
        return len(self.columns[0])

    def __getitem__(self, index: int) -> Any:
        if not 0 <= index < len(self):
            raise IndexError
        row = tuple(column[index] for column in self.columns)
        return dict(zip(self.names, row, strict=True)) if self.names else row


class Batches:
    """Anything that can be iterated, batch by batch."""

    def __iter__(self) -> Iterator[Any]:
        yield from BATCHES


class Normalizing:
    """Around a loader, as fast loaders do: what it yields is not what its data set holds."""

    def __init__(self, loader: Any) -> None:
        self.loader, self.dataset = loader, loader.dataset

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Any]:
        for x, y in self.loader:
            yield x / 2, y


class NormalizingLoader(DataLoader[Any]):
    def __iter__(self) -> Any:
        return ((x / 2, y) for x, y in super().__iter__())


class Repeated:
    def __init__(self, batches: Any) -> None:
        self.batches = batches

    def __iter__(self) -> Iterator[Any]:
        return cycle(self.batches)


class Endless(DataLoader[Any]):
    """Keeps one iterator with its workers from epoch to epoch."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        object.__setattr__(self, "batch_sampler", Repeated(self.batch_sampler))
        self.iterator = super().__iter__()

    def __iter__(self) -> Any:
        return (next(self.iterator) for _ in range(5))


class Both:
    """Loaders for training and validation in one."""

    def __init__(self, train: Any, valid: Any) -> None:
        self.train, self.valid = train, valid


LABELLED: dict[str, Any] = {
    "rows": Rows(INPUTS, LABELS.tolist()),
    "rows of arrays": Rows(INPUTS.numpy(), LABELS.numpy()),
    "rows of lists": Rows(INPUTS.tolist(), LABELS.tolist(), names=("x", "label")),
    "rows with text": Rows(INPUTS, ["?"] * 40, LABELS.tolist(), names=("x", "text", "label")),
    "list of samples": [(INPUTS[i], int(LABELS[i])) for i in range(40)],
    "list of dicts": [{"x": INPUTS[i], "y": int(LABELS[i])} for i in range(40)],
    "list of batches": BATCHES,
    "iterable of batches": Batches(),
    "(x, y, index)": DataLoader(TensorDataset(INPUTS, LABELS, torch.arange(40)), 8),
    "(x, y, name)": Rows(INPUTS, LABELS.tolist(), [f"image {i}" for i in range(40)]),
    "batches of (x, y, index)": [(*batch, torch.arange(10) + 10 * i) for i, batch in enumerate(BATCHES)],
    "train and valid": Both([], DataLoader(DATASET, 8)),
    "endless loader": Endless(DATASET, 8),
}


@pytest.mark.parametrize("data", LABELLED.values(), ids=LABELLED.keys())
def test_inputs_come_with_their_labels(data: Any) -> None:
    pairs, held_out = draw_panel(data, 12)
    inputs = held_out.inputs["x"] if isinstance(held_out.inputs, dict) else held_out.inputs
    assert sorted(inputs[:, 0].tolist()) == list(range(40))
    assert torch.equal(held_out.labels, inputs[:, 0].long() % 4)
    assert pairs.classes is not None
    assert (pairs.classes[:, 0] != pairs.classes[:, 1]).all()


@pytest.mark.parametrize(
    "loader",
    [
        Normalizing(DataLoader(DATASET, 8)),
        NormalizingLoader(DATASET, 8),
        NormalizingLoader(DATASET, 8, num_workers=1),
    ],
)
def test_what_a_loader_does_to_its_batches_is_done(loader: Any) -> None:
    _, held_out = draw_panel(loader)
    assert torch.equal(held_out.labels, (2 * held_out.inputs[:, 0]).long() % 4)


def test_an_endless_loader_goes_on_where_it_was() -> None:
    loader = Endless(DATASET, 8, num_workers=1)
    draw_panel(loader)
    assert [x[0, 0].item() for x, _ in loader] == [0, 8, 16, 24, 32]


def test_persistent_workers_inside_another_loader_are_let_go() -> None:
    inner = DataLoader(DATASET, 8, num_workers=1, persistent_workers=True)
    draw_panel(Normalizing(inner))
    assert inner._iterator is None


@pytest.mark.parametrize("size", [(16, 16), None])
@pytest.mark.parametrize("form", ["list", "with targets", "loader"])
def test_lists_of_images(form: str, size: tuple[int, int] | None) -> None:
    images = [torch.full((3, *(size or (16 + i, 20 - i))), float(i + 1)) for i in range(4)]
    targets = [{"boxes": torch.zeros(i, 4)} for i in range(4)]
    rows = list(zip(images, targets, strict=True))
    data: Any = {
        "list": images,
        "with targets": (images, targets),
        "loader": DataLoader(rows, 2, collate_fn=lambda batch: tuple(zip(*batch, strict=True))),  # type: ignore[arg-type]
    }[form]
    _, held_out = draw_panel(data)
    assert held_out.inputs.shape == (4, 3, *(size or (19, 20)))
    if form != "list":
        for image, target in zip(held_out.inputs, held_out.labels, strict=True):
            assert len(target["boxes"]) == int(image[0, 0, 0]) - 1


def test_a_scalar_beside_the_inputs_is_common_to_them() -> None:
    pairs, held_out = draw_panel((INPUTS, torch.tensor(0.5)))
    assert "common to all" in str(held_out)
    assert len(pairs) == 64
    assert held_out.labels is None


class Scaled(Dataset[Any]):
    def __getitem__(self, key: Any) -> Any:
        index, size = (key["row"], key["size"]) if isinstance(key, dict) else key
        return INPUTS[int(index)] * size, int(LABELS[int(index)])


NAMES = {f"image {i}": i for i in range(40)}


class Named(Dataset[Any]):
    def __getitem__(self, key: str) -> Any:
        return INPUTS[NAMES[key]], int(LABELS[NAMES[key]])


@pytest.mark.parametrize(
    "loader",
    [
        DataLoader(Scaled(), 8, sampler=[(i, 1) for i in range(40)]),
        DataLoader(Scaled(), 8, sampler=[{"row": i, "size": 1} for i in range(40)]),
        DataLoader(Scaled(), batch_sampler=[[(i, 1), (i + 1, 1)] for i in range(0, 40, 2)]),
        DataLoader(Named(), 8, sampler=list(NAMES)),
        DataLoader(DATASET, 8, sampler=np.arange(40)),
        DataLoader(DATASET, 8, sampler=torch.arange(40)),  # type: ignore[arg-type]
        DataLoader(DATASET, 8, sampler=[*range(40), *range(40)]),
    ],
)
def test_samplers_yield_keys_of_any_kind(loader: DataLoader[Any]) -> None:
    _, held_out = draw_panel(loader)
    assert sorted(held_out.inputs[:, 0].tolist()) == list(range(40))


class Forever(Sampler[int]):
    def __iter__(self) -> Iterator[int]:
        return cycle(range(40))


class ForeverInBatches(Sampler[list[int]]):
    def __iter__(self) -> Iterator[list[int]]:
        return cycle([[0, 1, 2], [3, 4, 5], [38, 39]])


class Vast(Dataset[Any]):
    def __len__(self) -> int:
        return 300_000_000

    def __getitem__(self, index: int) -> Any:
        return torch.full((3,), float(index)), index % 4


class Unending(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        return cycle(DATASET)


@pytest.fixture
def within_a_minute() -> Iterator[None]:
    """What never ends is stopped."""
    signal.alarm(60)
    yield
    signal.alarm(0)


@pytest.mark.usefixtures("within_a_minute")
@pytest.mark.parametrize(
    "data",
    [
        DataLoader(DATASET, 8, sampler=Forever()),
        DataLoader(DATASET, batch_sampler=ForeverInBatches()),
        DataLoader(Unending(), 8),
        Repeated(BATCHES),
        Vast(),
        DataLoader(Vast(), 8, shuffle=True),
        DataLoader(Vast(), 8),
    ],
)
def test_what_never_ends_is_read_as_far_as_needed(data: Any) -> None:
    pairs, held_out = draw_panel(data)
    assert len(pairs) == 64
    assert len(held_out) <= 512


def test_thousands_of_labels_are_paired_without_a_list_of_all_pairs() -> None:
    many = torch.randperm(8000)
    pairs = draw_pairs((many[:, None].float(), many))
    assert pairs.classes is not None
    assert len(pairs.class_names) == 128
    names = np.array(pairs.class_names, dtype=float)[pairs.classes]
    np.testing.assert_array_equal(names, torch.cat([pairs.first, pairs.second], 1).numpy())


@pytest.mark.parametrize("data", [iter(BATCHES), (batch for batch in BATCHES), map(tuple, BATCHES)])
def test_a_stream_that_reading_would_use_up_is_not_touched(data: Any) -> None:
    with pytest.raises(ValueError, match=r"use them up.*pass \(inputs, labels\)"):
        draw_panel(data)
    assert len(list(data)) == 4


def test_an_open_file_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "rows").write_text("1\n2\n")
    with (tmp_path / "rows").open() as file:
        with pytest.raises(ValueError, match="use them up"):
            draw_panel(file)
        assert file.readline() == "1\n"


class Broken(Dataset[Any]):
    def __len__(self) -> int:
        return 9

    def __getitem__(self, index: int) -> Any:
        return INPUTS[index], {"a": 1}["b"] if index == 3 else 0


@pytest.mark.parametrize("workers", [0, 1])
def test_an_item_that_cannot_be_read_is_named(workers: int) -> None:
    with pytest.raises(ValueError, match=r"item 3 of .*Broken.* KeyError: 'b'; .*pass \(inputs, labels\)"):
        draw_panel(DataLoader(Broken(), 4, num_workers=workers))


def test_items_that_cannot_be_joined_are_named() -> None:
    rows = [(object(), i % 2) for i in range(9)]
    with pytest.raises(ValueError, match=r"such as \(object, int\) .*collate_fn"):
        draw_panel(Rows(*zip(*rows, strict=True)))


def test_tensors_of_a_library_of_images_are_plain_ones() -> None:
    class Image(Tensor):
        pass

    pairs, held_out = draw_panel((INPUTS.as_subclass(Image), LABELS))
    assert type(held_out.inputs) is type(pairs.first) is Tensor
