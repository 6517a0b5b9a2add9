"""Kinks of max-pooling from the values at both ends, against walking along the segment."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from foldmon.folding.exact.switches import switches


def pool_of(function: Callable[..., tuple[Tensor, Tensor]], *args: int) -> Callable[[Tensor], Tensor]:
    return lambda values: function(values, *args, return_indices=True)[1]


whole_row = pool_of(F.max_pool1d, 3)


def kinks_of(select: Callable[[Tensor], Tensor], a: Tensor, b: Tensor) -> list[tuple[int, float]]:
    segment, share = switches(select, a.flatten(1), b.flatten(1), a.shape[1:])
    return sorted(zip(segment.tolist(), share.tolist(), strict=True))


def row(*values: float) -> Tensor:
    return torch.tensor([[values]], dtype=torch.float32)


def test_two_candidates_meet_once() -> None:
    assert kinks_of(whole_row, row(3, 0, -9), row(0, 1, -9)) == [(0, 0.75)]


def test_a_third_candidate_is_highest_where_two_meet() -> None:
    """It is selected at neither end: both its meetings are kinks, that of the other two is none."""
    assert kinks_of(whole_row, row(4, 0, 3), row(0, 4, 3)) == [(0, 0.25), (0, 0.75)]


def test_a_third_candidate_through_the_meeting_point_adds_nothing() -> None:
    assert kinks_of(whole_row, row(4, 0, 2), row(0, 4, 2)) == [(0, 0.5)]


def test_the_same_candidate_at_both_ends_or_equal_candidates_make_no_kink() -> None:
    assert kinks_of(whole_row, row(4, 3, 0), row(4, 3.9, 0)) == []
    assert kinks_of(whole_row, row(1, 1, 0), row(1, 1, 0)) == []


def test_a_switch_within_rounding_is_no_kink() -> None:
    """Two rectified units at 0, of which rounding lifts one here and the other there."""
    assert kinks_of(whole_row, row(2e-8, 0, -1), row(0, 2e-8, -1)) == []


def test_nan_makes_no_kink() -> None:
    assert kinks_of(whole_row, row(float("nan"), 0, 0), row(0, 1, 0)) == []


@pytest.mark.parametrize(
    "select",
    [
        pool_of(F.max_pool2d, 2),
        pool_of(F.max_pool2d, 3, 1, 1),
        pool_of(F.adaptive_max_pool2d, 2),
        lambda v: F.max_pool2d(v, 2, 1, 0, 2, return_indices=True)[1],
    ],
    ids=["plain", "overlapping", "adaptive", "dilated"],
)
def test_random_segments_against_many_points(select: Callable[[Tensor], Tensor]) -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 5, 3, 6, 6, generator=generator, dtype=torch.float64)
    found = kinks_of(select, a, b)
    points = 100_001
    for segment in range(5):
        t = torch.linspace(0, 1, points, dtype=torch.float64).reshape(-1, 1, 1, 1)
        index = select(torch.lerp(a[segment], b[segment], t)).flatten(1)
        step, _ = torch.nonzero(index[1:] != index[:-1], as_tuple=True)
        expected = np.sort((step.numpy() + 0.5) / (points - 1))
        np.testing.assert_allclose([s for g, s in found if g == segment], expected, atol=1 / points)
