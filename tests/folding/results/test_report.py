"""The statistics of a report, computed again by hand from its distances."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import nn

import foldmon
from foldmon.folding.results.statistics import bootstrap_interval


@pytest.fixture(scope="module")
def report() -> foldmon.FoldingReport:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU()
    )
    pairs = foldmon.draw_pairs((3 * torch.randn(60, 4), torch.arange(60) % 3), count=12)
    return foldmon.measure(model, pairs)


def test_summary_values(report: foldmon.FoldingReport) -> None:
    chi = report.chi_network
    assert chi.shape == (12,)
    assert (report.chi[:, 0] == 0).all()  # on a line each unit of the first layer flips at most once
    assert report.phi == pytest.approx(sum(chi.tolist()) / 12)
    nonzero = sorted(value for value in chi.tolist() if value > 0)
    assert nonzero
    assert report.nonzero_fraction == len(nonzero) / 12
    assert report.phi_median_nonzero == pytest.approx(np.median(nonzero))
    assert report.phi_max == nonzero[-1]
    low, high = report.phi_interval
    assert low < report.phi < high
    np.testing.assert_allclose(report.profile, report.chi_cumulative.mean(0))


def test_class_matrix(report: foldmon.FoldingReport) -> None:
    matrix, classes = report.class_matrix, report.classes
    assert matrix is not None
    assert classes is not None
    for a in range(3):
        assert np.isnan(matrix[a, a])
        for b in range(3):
            if a != b:
                members = [set(pair) == {a, b} for pair in classes.tolist()]
                assert matrix[a, b] == pytest.approx(report.chi_network[members].mean())


def test_the_journal_record_holds_what_phi_is_computed_from(report: foldmon.FoldingReport) -> None:
    record = json.loads(json.dumps(report.to_dict()))
    r1, r2 = np.array(record["network_r1"]), np.array(record["network_r2"])
    assert np.mean(1 - r1 / r2) == pytest.approx(record["phi"])
    assert bootstrap_interval(1 - r1 / r2) == pytest.approx(tuple(record["phi_interval"]))
    assert record["layers"] == ["1", "3", "5"]
    assert record["units"] == [32, 32, 32]


def test_a_path_that_stands_still_does_not_fold() -> None:
    x = torch.randn(2, 4)
    report = foldmon.measure(nn.Sequential(nn.Linear(4, 8), nn.ReLU()), (x, x))
    assert report.chi_network.tolist() == [0.0, 0.0]
    assert report.phi_median_nonzero == report.nonzero_fraction == 0.0


def test_one_path_has_no_interval() -> None:
    x = torch.randn(1, 4)
    report = foldmon.measure(nn.Sequential(nn.Linear(4, 8), nn.ReLU()), (x, -x))
    assert np.isnan(report.phi_interval).all()
    assert "nan" in str(report)


def test_the_interval_covers_the_mean_about_as_often_as_it_says() -> None:
    generator = np.random.default_rng(0)
    samples = generator.gamma(2.0, 0.02, size=(200, 64))
    inside = [low <= 0.04 <= high for low, high in map(bootstrap_interval, samples)]
    assert 0.88 <= np.mean(inside) <= 1.0
