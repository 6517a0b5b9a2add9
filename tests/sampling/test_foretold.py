"""What a probe will cost, as it is told before there was one."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from foldmon.config import Config
from foldmon.sampling import foretold as module
from foldmon.sampling.foretold import cheap_to_follow, foretold
from foldmon.sampling.plan import Plan


def plan(points: int = 10, shares: int = 64, allowance: float = 1.0) -> Any:
    return SimpleNamespace(config=SimpleNamespace(points=points, allowance=allowance), shares=shares)


def prober(seconds_a_row: float) -> Any:
    return SimpleNamespace(seconds_a_row=seconds_a_row)


@pytest.mark.parametrize(
    ("few", "one", "a_row", "fixed"),
    [
        (0.5, 0.2, 0.01, 0.1),  # three pairs more take 0.3 s
        (0.9, 0.1, 0.8 / 30, 0.0),  # one that seemed to take less than it can
        (0.2, 0.2, 0.02 / 30, 0.2 - 0.02 / 3),  # more pairs for nothing: a tenth of all at least
    ],
)
def test_some_pairs_and_one_alone_tell_the_price_of_a_pair_and_a_probe(monkeypatch, few, one, a_row, fixed):
    monkeypatch.setattr(module, "_seconds", lambda plan, prober, pairs: {4: few, 1: one}[pairs])
    assert foretold(plan(), prober(0.001), tried=True) == pytest.approx((a_row, fixed))


@pytest.mark.parametrize(
    ("shares", "seconds", "tried"), [(3, 0.001, True), (64, 0.0125, True), (64, 0.001, False)]
)
def test_without_a_trial_the_passes_that_looked_the_model_over_tell(monkeypatch, shares, seconds, tried):
    monkeypatch.setattr(module, "_seconds", lambda *_: pytest.fail("a trial"))
    assert foretold(plan(shares=shares), prober(seconds), tried=tried) == (seconds, 0.0)


def test_more_inputs_are_followed_where_the_allowance_pays_for_all_of_them_forty_times():
    assert cheap_to_follow(plan(allowance=1.0), 1e-5) == 2500
    assert cheap_to_follow(plan(allowance=0.0), 1e-5) == cheap_to_follow(plan(), 1.0) == 512
    assert cheap_to_follow(plan(), 0.0) == 25_000_000


@pytest.mark.parametrize(
    ("pairs", "inputs"),
    [
        (1, 16),  # half as many as points on the path
        (2, 66),  # as many as points on the paths
        (20, 256),  # half of them at most
        (48, 384),  # the same share of them
        (64, 512),
    ],
)
def test_held_out_inputs_beside_some_pairs(pairs, inputs):
    ends: Any = range(64)
    made = Plan(ends, Config(), None, SimpleNamespace(inputs=512), None, None)
    assert made._beside(pairs, points=33) == inputs
    assert replace(made, held_out=None)._beside(pairs, points=33) == 0
