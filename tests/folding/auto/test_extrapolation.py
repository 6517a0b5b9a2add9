"""Nested samples: distances at every other point, and what extrapolation makes of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import foldmon
from foldmon.folding.auto.extrapolation import ExtrapolatedSamples
from foldmon.folding.model.prober import Prober
from foldmon.folding.results.distances import Distances
from foldmon.folding.results.nested import beyond

PATHS = 6


def mlp(activation: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    torch.manual_seed(0)
    layers = [m for _ in range(3) for m in (nn.Linear(16, 16), activation())]
    return nn.Sequential(*layers, nn.Linear(16, 3))


def pairs() -> foldmon.Pairs:
    return foldmon.Pairs(*torch.randn(2, PATHS, 16, generator=torch.Generator().manual_seed(1)))


def samples_of(chunk: int | None = None, curved: bool = False) -> ExtrapolatedSamples:
    return ExtrapolatedSamples(Prober(mlp(), pairs(), chunk=chunk), curved=curved)


def sampled(points: int) -> Distances:
    report = foldmon.measure(mlp(), pairs(), points=points)
    return Distances(report.r1, report.r2, report.r1_cumulative)


def assert_same(got: Distances, wanted: Distances) -> None:
    for name in ("r1", "r2", "r1_cumulative"):
        np.testing.assert_allclose(getattr(got, name), getattr(wanted, name))


@pytest.mark.parametrize("chunk", [None, 1, 7, 23])
@pytest.mark.parametrize("curved", [False, True])
def test_extrapolates_the_sampled_distances(chunk: int | None, curved: bool) -> None:
    samples = samples_of(chunk, curved)
    with samples.prober.active():
        samples.add(np.arange(PATHS))
    assert_same(samples.distances, beyond(sampled(5), sampled(3), 1 / 3 if curved else 0.8))
    moved = (sampled(5).chi_network - sampled(3).chi_network).mean()
    assert samples.moved(np.arange(PATHS)) == pytest.approx(moved)


@pytest.mark.parametrize("chunk", [None, 7])
def test_doubling_evaluates_only_the_points_between(chunk: int | None) -> None:
    samples = samples_of(chunk)
    first, rest = np.arange(2), np.arange(2, PATHS)
    with samples.prober.active():
        samples.scout(first)
        samples.double()
        samples.double()
        assert samples.prober.evaluations == 17 * len(first)
        samples.add(rest)
    assert samples.prober.evaluations == 17 * PATHS
    assert_same(samples.distances, beyond(sampled(17), sampled(9), 0.8))


def test_extrapolated_distances_stay_possible() -> None:
    """A path whose walk grew less than its reach: r1 exceeds no r2, and chi is no less than 0."""
    fine = Distances(np.array([[4.0, 5.0]]), np.array([[4.0, 5.0]]), np.array([[4.0, 9.0]]))
    coarse = Distances(np.array([[2.0, 3.0]]), np.array([[4.0, 5.0]]), np.array([[2.0, 5.0]]))
    found = beyond(fine, coarse, 1.0)
    assert (found.r1 <= found.r2).all()
    assert found.chi_network.tolist() == [0.0]


def test_what_nothing_moved_stays_as_it_is() -> None:
    fine = Distances(np.array([[4.0]]), np.array([[6.0]]), np.array([[4.0]]))
    assert_same(beyond(fine, fine, 0.8), fine)


@pytest.mark.parametrize("seed", range(3))
def test_extrapolation_takes_most_of_the_bias_away(seed: int) -> None:
    """Nine points of deep untrained networks see phi a tenth too low, extrapolated a thirtieth at most."""
    torch.manual_seed(seed)
    layers = [m for _ in range(6) for m in (nn.Linear(48, 48), nn.ReLU())]
    model = nn.Sequential(*layers)
    x1, x2 = torch.randn(2, 300, 48)
    exact = foldmon.measure(model, (x1, x2), method="exact").phi
    samples = ExtrapolatedSamples(Prober(model, foldmon.Pairs(x1, x2)), curved=False)
    paths = np.arange(300)
    with samples.prober.active():
        samples.scout(paths)
        samples.double()
    raw = foldmon.measure(model, (x1, x2), points=9).phi
    assert abs(raw - exact) > 0.07 * exact
    assert abs(samples.chi(paths).mean() - exact) < 0.04 * exact
