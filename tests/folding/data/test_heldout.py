"""Pairs from every shape that held-out data come in."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
)

import foldmon
from foldmon import Pairs, draw_pairs
from foldmon.folding.data.heldout import read_held_out
from foldmon.folding.data.labels import HeldOut
from foldmon.folding.data.reading import Amounts
from foldmon.folding.data.trees import describe
from foldmon.folding.undisturbed.random_state import random_state

INPUTS = torch.arange(40.0).reshape(40, 1).repeat(1, 3)  # input i is (i, i, i)
LABELS = torch.arange(40) % 4  # its class is i % 4
DATASET = TensorDataset(INPUTS, LABELS)


class Rows(Dataset[Any]):
    """Any rows as a data set; drawing noise from all three global generators where asked."""

    def __init__(self, rows: list[Any], noisy: bool = False) -> None:
        self.rows, self.noisy = rows, noisy

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Any:
        if self.noisy:
            noise = random.random() + np.random.rand() + torch.rand(())
            return self.rows[index][0] + noise / 100, self.rows[index][1]
        return self.rows[index]


class Stream(IterableDataset[Any]):
    def __init__(self, rows: list[Any]) -> None:
        self.rows = rows

    def __iter__(self) -> Iterator[Any]:
        return iter(self.rows)


ROWS = [(INPUTS[i], int(LABELS[i])) for i in range(40)]
DICTS = [{"x": INPUTS[i], "label": int(LABELS[i])} for i in range(40)]

LABELLED: dict[str, Any] = {
    "tensors": (INPUTS, LABELS),
    "arrays": (INPUTS.numpy(), LABELS.numpy()),
    "labels as a list": (INPUTS, LABELS.tolist()),
    "labels of shape (N, 1)": (INPUTS, LABELS[:, None]),
    "names": (INPUTS, np.array(list("abcd"))[LABELS.numpy()]),
    "dataset": DATASET,
    "subset": Subset(DATASET, range(40)),
    "rows": Rows(ROWS),
    "stream": Stream(ROWS),
    "loader": DataLoader(DATASET, batch_size=8),
    "loader, shuffled": DataLoader(DATASET, batch_size=8, shuffle=True),
    "loader, own generator": DataLoader(DATASET, 8, shuffle=True, generator=torch.Generator()),
    "loader, workers": DataLoader(DATASET, 8, num_workers=2),
    "loader, persistent workers": DataLoader(DATASET, 8, num_workers=2, persistent_workers=True),
    "loader, subset sampler": DataLoader(DATASET, 8, sampler=SubsetRandomSampler(range(40))),
    "loader, with replacement": DataLoader(DATASET, 8, sampler=RandomSampler(DATASET, True, 400)),
    "loader, batch sampler": DataLoader(
        DATASET, batch_sampler=BatchSampler(SequentialSampler(DATASET), 8, drop_last=True)
    ),
    "loader, drop_last": DataLoader(DATASET, 16, shuffle=True, drop_last=True),
    "loader of a stream": DataLoader(Stream(ROWS), batch_size=8),
    "loader of ready batches": DataLoader(
        Rows([(INPUTS[i : i + 8], LABELS[i : i + 8]) for i in range(0, 40, 8)]), batch_size=None
    ),
    "loader of a stream of ready batches": DataLoader(
        Stream([(INPUTS[i : i + 8], LABELS[i : i + 8]) for i in range(0, 40, 8)]), batch_size=None
    ),
}


def _class_of(rows: Tensor) -> np.ndarray:
    return rows[:, 0].long().numpy() % 4


@pytest.mark.parametrize("data", LABELLED.values(), ids=LABELLED.keys())
def test_pairs_join_different_classes_and_are_fixed_by_the_seed(data: Any) -> None:
    pairs = draw_pairs(data, count=24, seed=3)
    assert len(pairs) == 24
    assert pairs.classes is not None
    assert pairs.first.shape == pairs.second.shape == (24, 3)
    np.testing.assert_array_equal(pairs.classes[:, 0], _class_of(pairs.first))
    np.testing.assert_array_equal(pairs.classes[:, 1], _class_of(pairs.second))
    assert (pairs.classes[:, 0] != pairs.classes[:, 1]).all()
    again, other = draw_pairs(data, count=24, seed=3), draw_pairs(data, count=24, seed=4)
    assert torch.equal(pairs.first, again.first)
    assert torch.equal(pairs.second, again.second)
    assert not torch.equal(pairs.first, other.first)


@pytest.mark.parametrize("data", LABELLED.values(), ids=LABELLED.keys())
def test_no_random_state_moves(data: Any) -> None:
    if isinstance(data, DataLoader) and isinstance(data.dataset, TensorDataset):
        data = DataLoader(Rows(ROWS, noisy=True), 8, sampler=data.sampler, generator=data.generator)
    before = random_state()
    own = data.generator.get_state() if getattr(data, "generator", None) is not None else None
    draw_pairs(data, count=8)
    after = random_state()
    assert before["python"] == after["python"]
    assert str(before["numpy"]) == str(after["numpy"])
    assert torch.equal(before["torch"], after["torch"])
    assert own is None or torch.equal(own, data.generator.get_state())


def test_random_augmentation_is_fixed_by_the_seed_too() -> None:
    noisy = DataLoader(Rows(ROWS, noisy=True), 8, shuffle=True, drop_last=True)
    first = draw_pairs(noisy, count=8).first
    torch.rand(5), random.random(), np.random.rand()
    assert torch.equal(first, draw_pairs(noisy, count=8).first)


def test_persistent_workers_of_the_user_are_not_started() -> None:
    loader = DataLoader(DATASET, 8, num_workers=1, persistent_workers=True)
    draw_pairs(loader)
    assert loader._iterator is None


def test_a_loader_of_a_subset_is_read_inside_it_only() -> None:
    loader = DataLoader(DATASET, 4, sampler=SubsetRandomSampler(range(10, 20)))
    pairs = draw_pairs(loader, count=50)
    drawn = torch.cat([pairs.first, pairs.second])[:, 0]
    assert set(drawn.tolist()) == set(range(10, 20))


@pytest.mark.parametrize("count", [6, 24, 64, 100])
def test_pairs_are_spread_evenly_over_pairs_of_classes(count: int) -> None:
    skewed = torch.cat([torch.zeros(37, dtype=torch.int64), torch.tensor([1, 2, 3])])
    pairs = draw_pairs((INPUTS, skewed), count=count)
    assert pairs.classes is not None
    _, counts = np.unique(np.sort(pairs.classes, axis=1), axis=0, return_counts=True)
    assert len(counts) == 6
    assert counts.max() - counts.min() <= 1


def test_either_class_starts_about_equally_often() -> None:
    pairs = draw_pairs((INPUTS, LABELS % 2), count=100)
    assert pairs.classes is not None
    assert 40 <= pairs.classes[:, 0].sum() <= 60


def test_intra_pairs_stay_in_a_class_and_join_different_inputs() -> None:
    pairs = draw_pairs((INPUTS, LABELS), count=40, kind="intra")
    assert pairs.classes is not None
    assert (pairs.classes[:, 0] == pairs.classes[:, 1]).all()
    assert (pairs.first[:, 0] != pairs.second[:, 0]).all()
    assert set(pairs.classes[:, 0]) == {0, 1, 2, 3}


@pytest.mark.parametrize("kind", ["inter", "any"])
@pytest.mark.parametrize(
    "data",
    [INPUTS, INPUTS.numpy(), TensorDataset(INPUTS), Stream(list(INPUTS)), DataLoader(Rows(list(INPUTS)), 8)],
)
def test_without_labels_any_two_different_inputs_make_a_pair(data: Any, kind: Any) -> None:
    pairs = draw_pairs(data, count=60, kind=kind)
    assert pairs.kind == "any"
    assert pairs.classes is None
    assert (pairs.first[:, 0] != pairs.second[:, 0]).all()


def test_continuous_targets_are_no_classes() -> None:
    assert draw_pairs((INPUTS, torch.randn(40)), count=5).classes is None


@pytest.mark.parametrize(
    ("data", "leaves"),
    [
        (({"a": INPUTS, "b": INPUTS.numpy()}, LABELS), ("a", "b")),
        (({"a": INPUTS, "b": INPUTS}, None), ("a", "b")),
        (((INPUTS, INPUTS, INPUTS), LABELS), (0, 1, 2)),
        (DataLoader(Rows(DICTS), 8), ("x",)),
        (Rows(DICTS), ("x",)),
        ({"x": INPUTS, "labels": LABELS}, ("x",)),
        (Rows([(INPUTS[i], INPUTS[i], int(LABELS[i])) for i in range(40)]), (0, 1)),
    ],
)
def test_dicts_and_tuples_keep_their_structure(data: Any, leaves: tuple[Any, ...]) -> None:
    pairs = draw_pairs(data, count=9)
    assert len(pairs) == 9
    assert len(pairs.first) == len(leaves)
    reference = pairs.first[leaves[0]]
    for leaf in leaves:
        assert torch.equal(pairs.first[leaf], reference)
        assert pairs.second[leaf].shape == (9, 3)


def test_a_custom_collate_pads_and_is_used_by_batch_samplers_too() -> None:
    rows = Rows([(list(range(1 + i % 5)), i % 2) for i in range(20)])

    def pad(items: list[Any]) -> tuple[Tensor, Tensor]:
        longest = max(len(tokens) for tokens, _ in items)
        padded = [tokens + [0] * (longest - len(tokens)) for tokens, _ in items]
        return torch.tensor(padded), torch.tensor([label for _, label in items])

    by_size = DataLoader(rows, 4, collate_fn=pad)
    by_sampler = DataLoader(
        rows, collate_fn=pad, batch_sampler=BatchSampler(SequentialSampler(rows), 4, drop_last=False)
    )
    streamed = DataLoader(Stream(rows.rows), 4, collate_fn=pad)
    for loader in (by_size, by_sampler, streamed):
        assert draw_pairs(loader, count=6).first.shape == (6, 5)


ERRORS: dict[str, tuple[Any, dict[str, Any], type[Exception], str]] = {
    "no inputs": (torch.zeros(0, 3), {}, ValueError, "empty"),
    "no rows": (Rows([]), {}, ValueError, "empty"),
    "no stream": (Stream([]), {}, ValueError, "empty"),
    "drop_last drops all": (DataLoader(DATASET, 64, drop_last=True), {}, ValueError, "drop_last"),
    "one input": (INPUTS[:1], {}, ValueError, "at least two"),
    "one class": ((INPUTS, torch.zeros(40).long()), {}, ValueError, 'kind="any"'),
    "intra unlabelled": (INPUTS, {"kind": "intra"}, ValueError, "needs labels"),
    "intra, classes of one": ((INPUTS, torch.arange(40)), {"kind": "intra"}, ValueError, "more data"),
    "unknown kind": (INPUTS, {"kind": "all"}, ValueError, '"inter", "intra" or "any"'),
    "count 0": (INPUTS, {"count": 0}, ValueError, "at least 1"),
    "labels of other length": ((INPUTS, LABELS[:7]), {}, ValueError, "one label an input"),
    "inputs of differing length": (({"a": INPUTS, "b": INPUTS[:9]}, None), {}, ValueError, "batch size"),
    "a scalar": ((torch.tensor(1.0), None), {}, ValueError, "batch dimension"),
    "no data": (None, {}, TypeError, "DataLoader"),
    "a number": (3, {}, TypeError, "DataLoader"),
    "lists of numbers": (([[1.0], [2.0]], [0, 1]), {}, TypeError, "tensor or array"),
}


@pytest.mark.parametrize(("data", "options", "error", "text"), ERRORS.values(), ids=ERRORS.keys())
def test_errors_say_what_to_do(data: Any, options: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        draw_pairs(data, **options)


@pytest.mark.parametrize(
    ("first", "second", "text"),
    [
        (INPUTS, INPUTS[:5], "do not match"),
        (INPUTS, INPUTS[:, :2], "do not match"),
        (INPUTS[:0], INPUTS[:0], "at least one pair"),
        ({"a": INPUTS}, {"b": INPUTS}, "structure"),
        ((INPUTS, INPUTS), INPUTS, "structure"),
    ],
)
def test_ends_that_do_not_match(first: Any, second: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        Pairs(first, second)


def test_a_slice_of_pairs() -> None:
    pairs = draw_pairs((INPUTS, LABELS), count=10)
    part = pairs[2:5]
    assert isinstance(part, foldmon.Pairs)
    assert torch.equal(part.first, pairs.first[2:5])
    assert part.classes is not None
    np.testing.assert_array_equal(part.classes, pairs.classes[2:5])


def read(data: Any) -> HeldOut:
    return read_held_out(data, Amounts(64, 64), np.random.default_rng(0))[0]


def test_of_inputs_of_differing_shapes_the_commonest_are_taken() -> None:
    rows = [(torch.full((size,), float(i)), i % 2) for i, size in enumerate((3, 4, 5, 4, 4, 3, 4, 4))]
    one_by_one = read(DataLoader(Rows(rows), batch_size=1))
    assert sorted(one_by_one.inputs[:, 0].tolist()) == [1, 3, 4, 6, 7]
    assert torch.equal(one_by_one.labels, one_by_one.inputs[:, 0].long() % 2)
    buckets = [torch.zeros(2, 3), torch.ones(3, 5), torch.ones(2, 5), torch.zeros(2, 4)]
    assert read(DataLoader(Stream(buckets), batch_size=None)).inputs.shape == (5, 5)


def test_inputs_of_which_no_two_have_one_shape() -> None:
    with pytest.raises(ValueError, match="collate_fn"):
        read(DataLoader(Rows([torch.zeros(n) for n in range(1, 5)]), batch_size=1))


def test_targets_of_differing_shapes_are_no_classes() -> None:
    def collate(items: list[Any]) -> Any:
        return torch.stack([image for image, _ in items]), [boxes for _, boxes in items]

    rows = [(torch.zeros(3), torch.zeros(1 + i, 4)) for i in range(4)]
    held_out = read(DataLoader(Rows(rows), collate_fn=collate))
    assert held_out.classes is None
    assert sorted(len(boxes) for boxes in held_out.labels) == [1, 2, 3, 4]


def test_a_single_class_says_what_to_pass() -> None:
    with pytest.raises(ValueError, match=r'foldmon\.draw_pairs\(data, kind="any"\)'):
        draw_pairs((torch.randn(9, 2), torch.zeros(9, dtype=torch.int64)))


def test_a_pandas_table_is_an_array() -> None:
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame({"a": [1.0, 2.0], "b": [3.0, 4.0]})
    held_out = read((table, pandas.Series(["x", "y"])))
    assert held_out.inputs.tolist() == read(table).inputs.tolist() == [[1, 3], [2, 4]]
    assert held_out.labels is not None
    assert held_out.labels.tolist() == ["x", "y"]


def test_long_lists_are_described_in_short() -> None:
    text = describe([torch.zeros(2)] * 40)
    assert text.endswith("float32 (2,), ... (40 in all))")
    assert len(text) < 160
