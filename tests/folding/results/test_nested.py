"""Fewer points than wished: what is counted, and what it says of the wished ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import foldmon
from foldmon.folding.model.prober import Prober
from foldmon.folding.results.distances import Distances
from foldmon.folding.results.nested import Nested
from foldmon.folding.sampled.report import measure_sampled

PAIRS = torch.randn(2, 40, 8, generator=torch.Generator().manual_seed(3))


def net(activation: type[nn.Module], width: int = 256) -> nn.Module:
    torch.manual_seed(0)
    first = [nn.Linear(8, width), activation()]
    more = (m for _ in range(3) for m in (nn.Linear(width, width), activation()))
    return nn.Sequential(*first, *more, nn.Linear(width, 3))


def walked(*r2: int) -> Nested:
    return Nested(9, 33, tuple(Distances(*(np.array([[n]]) for n in (4, walk, 4))) for walk in r2))


@pytest.mark.parametrize(
    ("r2", "missed"), [((92, 88, 72), 5 / 16), ((96, 88, 72), 3 / 4), ((9, 9, 9), 3 / 4)]
)
def test_two_more_halvings_find_what_the_last_two_foretell(r2: tuple[int, ...], missed: float) -> None:
    nested = walked(*r2)
    assert nested.still_missed == missed
    assert nested.distances.r2.item() == r2[0] + missed * (r2[0] - r2[1])


def test_nothing_is_foretold_where_every_walk_saw_the_same() -> None:
    assert walked(9, 9, 9).distances.chi_network.tolist() == [1 - 4 / 9]


def test_more_missed_than_ever_is_taken_for_straight_pieces_and_less_for_curves() -> None:
    assert walked(90, 80, 79).still_missed == 3 / 4
    assert walked(90, 90, 40).still_missed == 5 / 16


@pytest.mark.parametrize("chunk", [None, 1, 3, 4, 20])
def test_the_coarser_walks_are_those_of_so_many_points(chunk: int | None) -> None:
    model, pairs = net(nn.ReLU, 32), foldmon.Pairs(*PAIRS[:, :6])
    places = np.array([4, 1])
    found = measure_sampled(Prober(model, pairs, chunk=chunk), 17, places, wished=65)
    assert found.nested is not None
    for points, walk, changes in zip((17, 9, 5), found.nested.walks, found.nested.changes, strict=True):
        alone = measure_sampled(Prober(model, pairs), points, places)
        for name in ("r1", "r2", "r1_cumulative"):
            assert np.array_equal(getattr(walk, name), getattr(alone, name))
        assert alone.decision is not None
        assert np.array_equal(changes, alone.decision.changes)
    assert found.evaluations == 34
    assert "extrapolated from 17 points a path to 65" in found.notes[-1]


@pytest.mark.parametrize("activation", [nn.ReLU, nn.Tanh])
def test_nine_points_say_what_thirty_three_would(activation: type[nn.Module]) -> None:
    model, pairs = net(activation), foldmon.Pairs(*PAIRS)
    whole, few = foldmon.measure(model, pairs, points=33), foldmon.measure(model, pairs, points=9)
    found = measure_sampled(Prober(model, pairs), 9, wished=33)
    assert abs(found.phi - whole.phi) < abs(few.phi - whole.phi) / 3
    assert np.allclose(found.folding, whole.folding, rtol=0.06)
