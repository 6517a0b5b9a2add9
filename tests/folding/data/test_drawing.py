"""Held-out inputs to follow, read together with the pairs."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

import foldmon
from foldmon.folding.data import reading
from foldmon.folding.data.drawing import draw_panel, representative
from foldmon.folding.undisturbed.random_state import random_state
from tests.folding.data.test_heldout import LABELLED, Rows, Stream

INPUTS = torch.arange(2000.0).reshape(2000, 1).repeat(1, 3)  # input i is (i, i, i)
LABELS = torch.arange(2000) % 7
ROWS = [(INPUTS[i], int(LABELS[i])) for i in range(2000)]
BATCHES = [(INPUTS[i : i + 9], LABELS[i : i + 9]) for i in range(0, 2000, 9)]
MANY: dict[str, Any] = {
    "arrays": (INPUTS, LABELS),
    "dataset": TensorDataset(INPUTS, LABELS),
    "stream": Stream(ROWS),
    "loader": DataLoader(Rows(ROWS), 32, shuffle=True),
    "loader of ready batches": DataLoader(Rows(BATCHES), batch_size=None),
}


def ends(pairs: foldmon.Pairs) -> set[float]:
    return set(torch.cat([pairs.first, pairs.second])[:, 0].tolist())


@pytest.mark.parametrize("data", [*LABELLED.values(), *MANY.values()])
@pytest.mark.parametrize("samples", [20, 512])
def test_pairs_are_those_that_are_drawn_alone(data: Any, samples: int) -> None:
    for count, seed in ((24, 3), (64, 0)):
        pairs, held_out = draw_panel(data, count, samples, seed=seed)
        assert pairs == foldmon.draw_pairs(data, count, seed=seed)
        assert len(held_out) <= samples


@pytest.mark.parametrize("data", MANY.values(), ids=MANY.keys())
def test_inputs_are_different_ones_with_their_labels_the_ends_among_them(data: Any) -> None:
    pairs, held_out = draw_panel(data)
    numbers = held_out.inputs[:, 0]
    assert held_out.labels is not None
    np.testing.assert_array_equal(held_out.labels, numbers.long().numpy() % 7)
    assert len(set(numbers.tolist())) == len(held_out) == 512
    assert ends(pairs) <= set(numbers.tolist())
    again, other = draw_panel(data)[1], draw_panel(data, seed=1)[1]
    assert torch.equal(again.inputs, held_out.inputs)
    assert again.fingerprint == held_out.fingerprint != other.fingerprint


def test_inputs_are_in_random_order() -> None:
    _, held_out = draw_panel((INPUTS, LABELS))
    rank = held_out.inputs[:, 0].argsort().argsort().double()
    assert abs(float(torch.corrcoef(torch.stack([rank, torch.arange(512.0).double()]))[0, 1])) < 0.15


class Logged(Rows):
    """Says what is read where it is not taken back: a count of its own would be."""

    def __getitem__(self, index: int) -> Any:
        logging.getLogger("reads").info(index)
        return super().__getitem__(index)


def test_every_input_is_read_once(caplog: pytest.LogCaptureFixture) -> None:
    def reads() -> list[Any]:
        found = [record.msg for record in caplog.records if record.name == "reads"]
        caplog.clear()
        return found

    with caplog.at_level("INFO", "reads"):
        data = Logged(ROWS)
        draw_panel(data)
        assert len(found := reads()) == len(set(found)) == 512
        draw_panel(data, samples=100)
        assert len(reads()) == 256  # for the pairs


def test_of_large_inputs_no_more_are_read_than_needed(caplog: pytest.LogCaptureFixture) -> None:
    volume = torch.zeros(2**21)  # 8 MB
    for count, labels, expected in ((2, [0, 1] * 20, 8), (10, [0, 1] * 20, 20), (2, [0] * 20 + [1] * 20, 8)):
        caplog.clear()
        with caplog.at_level("INFO", "reads"):
            draw_panel(Logged([(volume, label) for label in labels]), count, samples=4)
        assert len([record for record in caplog.records if record.name == "reads"]) <= expected


def test_no_random_state_moves() -> None:
    loader = DataLoader(Rows(ROWS, noisy=True), 8, shuffle=True, generator=torch.Generator())
    before, own = random_state(), loader.generator.get_state()
    first = draw_panel(loader)[1]
    after = random_state()
    assert before["python"] == after["python"]
    assert str(before["numpy"]) == str(after["numpy"])
    assert torch.equal(before["torch"], after["torch"])
    assert torch.equal(own, loader.generator.get_state())
    torch.rand(3)
    assert torch.equal(first.inputs, draw_panel(loader)[1].inputs)


def test_data_that_are_dear_to_read_give_fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(reading.time, "perf_counter", lambda: clock[0])

    class Slow(Rows):
        def __getitem__(self, index: int) -> Any:
            clock[0] += 1 / 128
            return super().__getitem__(index)

    assert len(draw_panel(Slow(ROWS))[1]) == 384  # three seconds
    pairs, held_out = draw_panel(Slow(ROWS), count=100)
    assert len(held_out) == 400  # what the pairs need is read however long it takes
    assert ends(pairs) <= set(held_out.inputs[:, 0].tolist())


@pytest.mark.parametrize("data", MANY.values(), ids=MANY.keys())
def test_inputs_take_no_more_memory_than_allowed(data: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for most in (50, 300):
        monkeypatch.setattr(reading, "LARGEST", most * 12 + 5)
        assert len(draw_panel(data)[1]) == most


@pytest.mark.parametrize("samples", [100, 512, 1999])
def test_classes_have_the_shares_that_they_have_in_the_data(samples: int) -> None:
    labels = torch.zeros(2000, dtype=torch.int64)
    labels[:40], labels[40:340] = 2, 1
    _, held_out = draw_panel((INPUTS, labels), samples=samples)
    assert held_out.labels is not None
    np.testing.assert_allclose(
        np.bincount(held_out.labels), np.array([1660, 300, 40]) * samples / 2000, atol=1
    )
    assert len(held_out) == samples


def test_representative_rows_prefer_some_within_each_class() -> None:
    labels, generator = np.array([0] * 90 + [1] * 10), np.random.default_rng(0)
    chosen = representative(labels, 100, np.array([3, 5, 3, 91, 92, 93, 94]), 20, generator)
    assert len(set(chosen.tolist())) == 20
    assert {3, 5} < set(chosen.tolist())
    assert len(set(chosen.tolist()) & {91, 92, 93, 94}) == 2
    assert (chosen >= 90).sum() == 2
    unlabelled = representative(None, 100, np.array([3, 5]), 4, generator)
    assert {3, 5} < set(unlabelled.tolist())


def test_padding_collates_may_pad_further() -> None:
    rows = Rows([(list(range(1 + i // 100)), i % 2) for i in range(600)])

    def pad(items: list[Any]) -> tuple[torch.Tensor, torch.Tensor]:
        longest = max(len(tokens) for tokens, _ in items)
        padded = [tokens + [0] * (longest - len(tokens)) for tokens, _ in items]
        return torch.tensor(padded), torch.tensor([label for _, label in items])

    streamed = DataLoader(Stream(rows.rows), 4, collate_fn=pad)
    pairs, held_out = draw_panel(streamed)
    assert (pairs.first.shape, held_out.inputs.shape) == ((64, 3), (512, 6))
    assert draw_panel(DataLoader(rows, 4, collate_fn=pad))[1].inputs.shape == (512, 6)


def test_of_inputs_of_differing_shapes_the_pairs_shape_is_kept() -> None:
    rows = [(torch.full((3 if i < 300 else 4,), float(i)), i % 2) for i in range(900)]
    pairs, held_out = draw_panel(DataLoader(Stream(rows), batch_size=1))
    assert held_out.inputs.shape == (300, 3)
    assert ends(pairs) <= set(held_out.inputs[:, 0].tolist())
    # Were the commonest ones of another shape, those read for the pairs would stay alone.
    held_out = draw_panel(DataLoader(Stream(rows), batch_size=1), samples=900)[1]
    assert held_out.inputs.shape == (256, 3)


@pytest.mark.parametrize(
    ("names", "labels"),
    [(("2", "5", "9"), [2, 5, 9]), (("0.0", "1.0", "2.0"), [0, 1, 2]), (("a", "b", "c"), list("abc"))],
)
def test_of_given_pairs_there_are_the_different_ends(names: tuple[str, ...], labels: list[Any]) -> None:
    first, second = INPUTS[[0, 0, 1]], INPUTS[[1, 2, 2]]
    classes = np.array([[0, 1], [0, 2], [1, 2]])
    pairs, held_out = draw_panel(given := foldmon.Pairs(first, second, classes, names))
    assert pairs is given
    assert held_out.labels is not None
    found = dict(zip(held_out.inputs[:, 0].tolist(), held_out.labels.tolist(), strict=True))
    assert found == {0.0: labels[0], 1.0: labels[1], 2.0: labels[2]}
    assert len(draw_panel(given, samples=2)[1]) == 2


def test_of_given_pairs_without_classes_there_are_no_labels() -> None:
    tokens = {"ids": torch.tensor([[1, 2], [3, 4]]), "mask": torch.tensor([[1, 1], [1, 0]])}
    _, held_out = draw_panel(foldmon.Pairs(tokens, {name: rows.flip(0) for name, rows in tokens.items()}))
    assert held_out.labels is None
    assert sorted(held_out.inputs["ids"].tolist()) == [[1, 2], [3, 4]]
