"""What the definition says of any walk, checked on random ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch import Tensor, nn

import foldmon
from foldmon.folding.symbols.activations import Reading
from foldmon.folding.symbols.codes import encode, hamming
from tests.folding.reference import distance, walk


class Tabulated(nn.Module):
    """Puts out row i of a table for input i: any walk of pre-activations becomes a path."""

    def __init__(self, table: np.ndarray) -> None:
        super().__init__()
        self.register_buffer("table", torch.from_numpy(table))
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        rows = x[:, 0].round().long()
        out: Tensor = self.relu(self.table[rows])
        return out


def measured(signs: np.ndarray, **options: Any) -> foldmon.FoldingReport:
    """Fold the walk whose point i has the pre-activations ``signs[i]``."""
    last = torch.tensor([[float(len(signs) - 1)]], dtype=torch.float64)
    model = Tabulated(signs.astype(np.float64))
    return foldmon.measure(model, (torch.zeros_like(last), last), points=len(signs), **options)


walks = hnp.arrays(
    np.int64, st.tuples(st.integers(2, 12), st.integers(1, 70)), elements=st.sampled_from([-1, 1])
)
few = settings(max_examples=40, deadline=None)


def numbers(signs: np.ndarray, **options: Any) -> tuple[int, int]:
    report = measured(signs, **options)
    return int(report.r1.item()), int(report.r2.item())


@few
@given(walks)
def test_equals_counting_by_hand_and_lies_in_the_unit_interval(signs: np.ndarray) -> None:
    report = measured(signs)
    assert (report.r1.item(), report.r2.item()) == walk(signs.tolist())
    assert 0 <= report.chi.item() < 1


@few
@given(walks)
def test_flat_exactly_if_the_walk_never_turns_back_and_the_same_backwards(signs: np.ndarray) -> None:
    turns_back = any((np.abs(np.diff(unit)) > 0).sum() > 1 for unit in signs.T)
    assert (measured(signs).chi.item() > 0) == turns_back
    assert (measured(signs[::-1].copy()).chi.item() > 0) == turns_back


@few
@given(walks, st.randoms(use_true_random=False))
def test_the_order_of_units_does_not_matter(signs: np.ndarray, random: Any) -> None:
    order = random.sample(range(signs.shape[1]), signs.shape[1])
    assert numbers(signs) == numbers(signs[:, order])


@few
@given(walks, st.integers(1, 3))
def test_repeated_points_do_not_matter(signs: np.ndarray, times: int) -> None:
    assert numbers(signs) == numbers(np.repeat(signs, times, axis=0))


@few
@given(walks, st.data())
def test_splitting_a_path_splits_its_length(signs: np.ndarray, data: st.DataObject) -> None:
    whole_r1, whole_r2 = numbers(signs)
    middle = data.draw(st.integers(0, len(signs) - 1))
    head, tail = (np.vstack([part[:1], part]) for part in (signs[: middle + 1], signs[middle:]))
    (head_r1, head_r2), (tail_r1, tail_r2) = numbers(head), numbers(tail)
    assert head_r2 + tail_r2 == whole_r2
    assert head_r1 <= whole_r1 <= head_r1 + tail_r1


@few
@given(walks, st.integers(1, 12))
def test_chunks_do_not_matter(signs: np.ndarray, chunk: int) -> None:
    assert numbers(signs) == numbers(signs, chunk=chunk)


@few
@given(
    hnp.arrays(np.float64, st.tuples(st.just(2), st.integers(1, 200)), elements=st.floats(-8, 8)),
    st.lists(st.floats(-7, 7), min_size=1, max_size=4, unique=True).map(sorted),
)
def test_packed_distance_counts_differing_symbols(values: np.ndarray, cuts: list[float]) -> None:
    code = encode(Reading(torch.from_numpy(values), tuple(cuts)))
    symbols = [[sum(v > cut for cut in cuts) for v in row] for row in values]
    assert hamming(code[:, 0], code[:, 1]) == distance(*symbols)


def test_encoding_in_slices_equals_encoding_at_once() -> None:
    values = torch.randn(300, 3, 700)  # several slices
    code = encode(Reading(values, (0.0,)))
    bits = np.unpackbits(code[0].view(np.uint8), axis=1)[:, : 3 * 700]
    np.testing.assert_array_equal(bits, values.flatten(1).numpy() > 0)


def test_half_precision_encodes_like_its_float32_values() -> None:
    values = torch.randn(50, 130)
    for dtype in (torch.bfloat16, torch.float16):
        half = values.to(dtype)
        np.testing.assert_array_equal(
            encode(Reading(half, (0.0, 0.1))), encode(Reading(half.float(), (0.0, 0.1)))
        )
