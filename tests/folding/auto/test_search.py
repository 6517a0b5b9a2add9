"""Automatic folding: within its budget, as precise as asked, and never worse off than samples."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import foldmon
from foldmon.folding.results.statistics import bootstrap_interval


def mlp(activation: type[nn.Module] = nn.ReLU, width: int = 16) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(*[m for _ in range(3) for m in (nn.Linear(width, width), activation())])


def pairs(count: int, width: int = 16) -> foldmon.Pairs:
    generator = torch.Generator().manual_seed(1)
    x1, x2 = torch.randn(2, count, width, generator=generator)
    return foldmon.Pairs(x1, x2, np.arange(2 * count).reshape(count, 2) % 3, ("a", "b", "c"))


def auto(model: nn.Module, ends: foldmon.Pairs, **options: object) -> foldmon.FoldingReport:
    return foldmon.measure(model, ends, method="auto", **options)


def test_is_exact_where_the_budget_pays_for_it() -> None:
    model, ends = mlp(), pairs(24)
    exact = foldmon.measure(model, ends, method="exact")
    report = auto(model, ends)
    assert report.method == "auto"
    assert report.exact
    np.testing.assert_array_equal(report.r1_cumulative, exact.r1_cumulative)
    np.testing.assert_array_equal(report.r2, exact.r2)
    assert report.classes is not None
    np.testing.assert_array_equal(report.classes, ends.classes)
    assert report.notes[-1] == "24 of 24 pairs: all were used"


def test_stops_when_phi_is_known_well_enough() -> None:
    model, ends = mlp(), pairs(400)
    report = auto(model, ends, tolerance=0.06, max_evaluations=10**6)
    low, high = report.phi_interval
    assert high - low <= 0.06
    assert 32 <= len(report.r1) < 400
    assert "narrower than the tolerance 0.06" in report.notes[-1]


def test_its_rows_are_the_pairs_it_used_in_order() -> None:
    model, ends = mlp(), pairs(400)
    report = auto(model, ends, tolerance=0.06, max_evaluations=10**6, classes=True)
    exact = foldmon.measure(model, ends, method="exact", classes=True)
    used = np.sort(np.random.default_rng(0).permutation(400)[: len(report.r1)])
    np.testing.assert_array_equal(report.r2, exact.r2[used])
    assert report.classes is not None
    assert ends.classes is not None
    np.testing.assert_array_equal(report.classes, ends.classes[used])
    assert report.decision is not None
    assert exact.decision is not None
    np.testing.assert_array_equal(report.decision.ends, exact.decision.ends[used])


@pytest.mark.parametrize("activation", [nn.ReLU, nn.GELU])
@pytest.mark.parametrize("budget", [2, 7, 60, 500, 2000])
def test_keeps_its_budget(activation: type[nn.Module], budget: int) -> None:
    report = auto(mlp(activation), pairs(64), max_evaluations=budget)
    assert 0 < report.evaluations <= budget
    assert len(report.r1) >= 1
    assert (report.r1_cumulative[:, -1] <= report.r2.sum(1)).all()
    assert "of 64 pairs" in report.notes[-1]


def test_samples_and_extrapolates_where_exactness_is_too_dear() -> None:
    model, ends = mlp(width=64), pairs(64, width=64)
    report = auto(model, ends, classes=True)
    exact = foldmon.measure(model, ends, method="exact", classes=True)
    assert not report.exact
    assert report.evaluations < exact.evaluations / 2
    assert "extrapolated from" in report.notes[-2]
    assert report.phi == pytest.approx(exact.phi, rel=0.1)
    np.testing.assert_allclose(report.chi[:, 0], 0.0, atol=1e-12)  # of a first layer nothing is missed
    assert report.decision is not None
    np.testing.assert_array_equal(report.decision.ends, exact.decision.ends)


@pytest.mark.parametrize("activation", [nn.GELU, nn.Tanh])
def test_smooth_networks_take_few_points(activation: type[nn.Module]) -> None:
    model, ends = mlp(activation), pairs(300)
    dense = foldmon.measure(model, ends, points=513)
    report = auto(model, ends, tolerance=1e-9)
    assert not report.exact
    assert report.evaluations <= 17 * 300 + 4
    assert report.phi == pytest.approx(dense.phi, rel=0.05)


def test_more_points_for_a_narrower_interval() -> None:
    """The error that few points leave matters beside a narrow interval only."""
    torch.manual_seed(0)
    model = nn.Sequential(*[m for _ in range(6) for m in (nn.Linear(64, 64), nn.ReLU())])
    few, many = (auto(model, pairs(count, width=64), tolerance=1e-9) for count in (32, 2000))
    points_of_few, points_of_many = (report.evaluations // len(report.r1) for report in (few, many))
    assert points_of_few < points_of_many
    assert f"extrapolated from {points_of_many} points" in many.notes[-2]


def test_says_where_the_budget_keeps_it_from_more_points() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(*[m for _ in range(6) for m in (nn.Linear(64, 64), nn.ReLU())])
    poor, rich = (auto(model, pairs(300, width=64), max_evaluations=n) for n in (6 * 300, 10**6))
    assert any("are not paid for" in note for note in poor.notes)
    assert not any("are not paid for" in note for note in rich.notes)


def test_layers_are_chosen() -> None:
    model, ends = mlp(width=64), pairs(64, width=64)
    report = auto(model, ends, layers=["3"])
    assert report.layers == ("3",)
    assert report.r1.shape == (64, 1)


class Wave(nn.Module):
    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return z + 0.05 * torch.sin(7 * z)


foldmon.register_activation(Wave, 0.0)


def test_a_curve_that_shows_on_the_way_is_sampled() -> None:
    report = auto(mlp(Wave), pairs(64))
    assert not report.exact
    assert any("extrapolated from" in note for note in report.notes)


class Fleeting(nn.Module):
    """Its second layer runs for large batches only."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.first, self.second = nn.Linear(16, 16), nn.ReLU(), nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(self.linear(x))
        return self.second(x - 0.1) if len(x) > 2 else x


class Pool(nn.MaxPool1d):
    pass


foldmon.register_activation(Pool, foldmon.SELECTED_INDEX)


@pytest.mark.parametrize(
    "model",
    [nn.Sequential(nn.Unflatten(1, (1, 16)), Pool(2)), mlp().bfloat16()],
    ids=["integer symbols", "half precision"],
)
def test_samples_what_cannot_be_followed(model: nn.Module) -> None:
    report = auto(model, pairs(6), points=17)
    assert report.method == "auto"
    assert not report.exact
    assert "sampled at equally spaced points" in report.notes[-1]
    sampled = foldmon.measure(model, pairs(6), points=17)
    np.testing.assert_array_equal(report.r2, sampled.r2)


def test_leaves_out_layers_that_come_and_go() -> None:
    report = auto(Fleeting(), pairs(6), points=17)
    assert report.layers == ("first",)
    assert report.coverage.not_covered["second"] == "it does not run in every pass"


def test_samples_the_chosen_layers_only() -> None:
    report = auto(mlp().bfloat16(), pairs(6), layers="3")
    assert report.layers == ("3",)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "sampled", "max_evaluations": 100}, "pairs times points"),
        ({"method": "auto", "max_evaluations": 1}, "at least 2"),
        ({"method": "exact", "tolerance": 0.1}, 'method="auto"'),
        ({"method": "auto", "tolerance": 0.0}, "positive"),
        ({"dtype": torch.int64}, "floating-point type"),
    ],
)
def test_arguments_that_make_no_sense(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        foldmon.measure(mlp(), pairs(4), **options)


def test_a_model_that_cannot_be_copied() -> None:
    model = mlp()
    model.kept = torch.zeros(1, requires_grad=True) * 2  # no leaf: deepcopy refuses it
    with pytest.raises(TypeError, match="leave dtype out"):
        foldmon.measure(model, pairs(4), dtype=torch.float64)


@pytest.mark.parametrize("zeros", [0.0, 0.3, 0.85])
def test_intervals_cover_skewed_values(zeros: float) -> None:
    """95% nominal; folding is often 0 and has a long tail."""
    generator = np.random.default_rng(0)
    covered = 0
    for _ in range(500):
        values = generator.beta(1.2, 15, size=64) * (generator.random(64) >= zeros)
        low, high = bootstrap_interval(values, resamples=500)
        covered += low <= (1 - zeros) * 1.2 / 16.2 <= high
    assert covered >= 0.93 * 500
