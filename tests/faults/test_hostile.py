"""A hundred models and loops at random; ``python -m tests.fuzz.fuzz_models`` tries thousands."""

from __future__ import annotations

import gc

import pytest

from tests.fuzz.fuzz_models import MEASURED, differences
from tests.fuzz.hostile import Combination


@pytest.fixture(autouse=True, scope="module")
def few_things_to_collect():
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.parametrize("block", range(10))
def test_training_and_everything_in_reach_is_the_same_with_and_without_foldmon(block):
    before = MEASURED[1]
    combinations = [Combination(seed) for seed in range(10 * block, 10 * block + 10)]
    assert [(str(c), found) for c in combinations if (found := differences(c))] == []
    assert MEASURED[1] - before >= 6, "most can be measured, or this shows little"
