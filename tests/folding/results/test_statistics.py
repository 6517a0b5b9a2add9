"""The interval of a mean over paths."""

from __future__ import annotations

import numpy as np
import pytest

from foldmon.folding.results.statistics import bootstrap_interval


@pytest.mark.parametrize("zeros", [0.0, 0.5, 0.9])
def test_neither_side_is_shorter_than_a_normal_one(zeros: float) -> None:
    """Skewed values lengthen one side; the other keeps 1.96 standard errors."""
    generator = np.random.default_rng(0)
    values = generator.beta(1.2, 15, size=64) * (generator.random(64) >= zeros)
    error = values.std(ddof=1) / 8
    low, high = bootstrap_interval(values)
    assert values.mean() - low >= min(1.9599 * error, values.mean())
    assert high - values.mean() > 2.1 * error


def test_equal_values_leave_nothing_open_and_a_single_one_everything() -> None:
    assert bootstrap_interval(np.full(10, 0.25)) == (0.25, 0.25)
    assert np.isnan(bootstrap_interval(np.array([0.25]))).all()


def test_stays_within_what_folding_can_be() -> None:
    low, high = bootstrap_interval(np.array([0.0] * 20 + [0.9]))
    assert low == 0.0
    assert high <= 1.0
