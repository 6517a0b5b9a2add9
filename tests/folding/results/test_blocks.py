"""A rotating panel of single inputs in blocks."""

from __future__ import annotations

import json
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foldmon.folding.results.blocks import BlockPanel

INPUTS, PROBES, REPEATS = 512, 120, 200


@given(st.integers(1, 3000), st.lists(st.integers(1, 600), min_size=1, max_size=20))
@settings(max_examples=50, deadline=None)
def test_every_input_has_its_turn_before_any_has_a_second(inputs, counts):
    panel = BlockPanel(inputs)
    assert panel.inputs % panel.size == 0
    assert 0 <= inputs - panel.inputs < max(1, inputs / 32)
    turns = Counter(range(panel.inputs))
    for count in counts:
        rows = panel.next(count)
        assert len(rows) % panel.size == 0
        assert abs(len(rows) - min(count, panel.inputs)) <= panel.size
        turns.update(rows.tolist())
        assert max(turns.values()) - min(turns.values()) <= 1


@pytest.mark.parametrize("inputs", [7, 64, 512])
def test_all_inputs_give_the_plain_mean(inputs):
    panel, values = BlockPanel(inputs), np.random.default_rng(0).gamma(1.0, size=(inputs, 2))
    for step in range(3):
        rows = panel.next(inputs)
        assert rows.tolist() == list(range(inputs))
        estimate = panel.update(step, rows, values)
    assert estimate.mean == pytest.approx(values.mean(0), rel=1e-12)
    half = 1.96 * values.std(0) / inputs**0.5
    assert inputs < 512 or (estimate.upper - estimate.lower) / 2 == pytest.approx(half, rel=0.25)


def test_a_single_block_tells_how_sure_its_mean_is():
    generator, panel = np.random.default_rng(0), BlockPanel(INPUTS)
    values = generator.gamma(1.0, size=(INPUTS, 500))  # columns are panels, and 1 is their true mean
    rows = panel.next(16)
    estimate = panel.update(0, rows, values[rows])
    assert estimate.mean == pytest.approx(values[rows].mean(0))
    assert 0.93 < ((estimate.lower <= 1.0) & (estimate.upper >= 1.0)).mean() < 0.99


def test_what_differs_between_inputs_does_not_move_the_curve():
    panel, effects = BlockPanel(INPUTS), np.random.default_rng(0).gamma(0.5, size=(INPUTS, 1))
    curve = []
    for step in range(0, 2000, 10):
        rows = panel.next(16)
        curve.append(panel.update(step, rows, effects[rows]).mean[0])
    one_block = effects.std() / 4
    assert np.abs(np.array(curve)[100:] - effects.mean()).max() < 0.25 * one_block


def test_a_nan_is_no_value_and_leaves_later_ones_be():
    panel, table = BlockPanel(INPUTS), np.random.default_rng(0).gamma(1.0, size=(60, INPUTS, 2))
    for step, values in enumerate(table):
        rows = panel.next(32)
        spoiled = values[rows].copy()
        spoiled[3, 1] = np.nan if step < 5 or step == 20 else spoiled[3, 1]
        estimate = panel.update(step, rows, spoiled)
        assert np.isnan(estimate.mean[1]) == (step < 5 or step == 20)
        assert np.isfinite(estimate.mean[0])
    assert np.isfinite([estimate.mean, estimate.lower, estimate.upper]).all()
    assert estimate.mean == pytest.approx([1.0, 1.0], abs=0.15)


@pytest.mark.parametrize(("inputs", "probes"), [(512, 0), (512, 1), (512, 30), (50, 30)])
def test_state_goes_through_json(inputs, probes):
    panel, table = BlockPanel(inputs, seed=3), np.random.default_rng(0).gamma(1.0, size=(60, inputs, 2))
    table[:15, :, 1] = np.nan
    for step in range(probes):
        rows = panel.next(16)
        panel.update(step, rows, table[step, rows])
    resumed = BlockPanel(inputs)
    resumed.load_state_dict(json.loads(json.dumps(panel.state_dict(), allow_nan=False)))
    for step in range(probes, 60):
        rows = panel.next(16)
        assert np.array_equal(rows, resumed.next(16))
        one, two = (p.update(step, rows, table[step, rows]) for p in (panel, resumed))
        for name in ("mean", "lower", "upper"):
            assert np.array_equal(getattr(one, name), getattr(two, name), equal_nan=True)


def test_state_of_another_panel_is_refused():
    with pytest.raises(ValueError, match="of 32 pairs, the panel has 50"):
        BlockPanel(50).load_state_dict(BlockPanel(512).state_dict())


FALLING = np.exp(-np.arange(PROBES) / 20)
LOSSES = {
    "falling": 0.1 + 2.2 * FALLING,
    "growing": 0.3 + 0.02 * np.arange(PROBES),
    "flat": np.full(PROBES, 0.4),
    "turning": 0.4 + 1.9 * FALLING + 0.01 * np.maximum(np.arange(PROBES) - 60, 0),
}


def followed(draw, share):
    """Whether each interval covers, and errors, of REPEATS panels as columns; of ``draw(probe)``."""
    panel, step, covered, errors = BlockPanel(INPUTS), 0, [], []
    for probe in range(PROBES):
        truth, values = draw(probe)
        rows = panel.next(share)
        estimate = panel.update(step, rows, values[rows])
        covered.append((estimate.lower <= truth) & (truth <= estimate.upper))
        errors.append(estimate.mean - values.mean(0))
        step += max(1, step // 50)
    return np.array(covered), np.array(errors)


@pytest.mark.parametrize("course", LOSSES)
@pytest.mark.parametrize(("share", "lowest"), [(16, 0.85), (64, 0.9)])
def test_interval_of_a_loss_covers(course, share, lowest):
    """Losses are skewed, their size follows their mean, and most of it lasts."""
    generator = np.random.default_rng(share)
    lasting = generator.gamma(0.3, 1 / 0.3, size=(INPUTS, REPEATS))

    def draw(probe):
        new = generator.gamma(0.3, 1 / 0.3, size=(INPUTS, REPEATS))
        return LOSSES[course][probe], LOSSES[course][probe] * (0.8 * lasting + 0.2 * new)

    covered, _ = followed(draw, share)
    assert covered[2:].mean() >= 0.93
    assert covered[10:].mean(1).min() >= lowest


@pytest.mark.parametrize(("share", "lowest"), [(16, 0.85), (64, 0.9)])
def test_interval_of_an_error_rate_covers(share, lowest):
    generator = np.random.default_rng(share)
    hardness = generator.random((INPUTS, REPEATS))  # which inputs are wrong while so many are

    def draw(probe):
        rate = 0.05 + 0.85 * FALLING[probe]
        noise = generator.random((INPUTS, REPEATS))
        return rate, np.where(generator.random((INPUTS, REPEATS)) < 0.85, hardness, noise) < rate

    covered, errors = followed(lambda probe: tuple(map(np.float64, draw(probe))), share)
    assert covered[2:].mean() >= 0.93
    assert covered[10:].mean(1).min() >= lowest
    assert np.sqrt((errors[10:] ** 2).mean()) < 0.6 * np.sqrt(0.2 / share)


@pytest.mark.parametrize("count", [16, 512])
def test_intervals_of_skewed_losses_hold_what_they_are_of(count: int) -> None:
    """Squared errors and the like: a few inputs make up most of the mean."""
    truth, held = math.exp(0.5), []
    for seed in range(25):
        draws = np.random.default_rng(seed)
        losses, panel = draws.lognormal(0.0, 1.0, 512), BlockPanel(512, seed)
        for step in range(20):
            rows = panel.next(count)
            found = panel.update(step, rows, losses[rows, None] * draws.lognormal(0.0, 0.05, (count, 1)))
        held.append(found.lower[0] <= truth <= found.upper[0])
    assert np.mean(held) >= 0.84


def test_values_of_whole_batches_tell_nothing_of_single_inputs() -> None:
    draws = np.random.default_rng(0)
    batches, panel = np.repeat(draws.normal(3.0, 1.0, 32), 16), BlockPanel(512)
    for step in range(30):
        rows = panel.next(64)
        found = panel.update(step, rows, batches[rows, None], joint=True)
    assert found.upper[0] - found.lower[0] > 2 * 1.96 / 32**0.5 * 0.7


def test_losses_below_zero_are_not_cut_off() -> None:
    draws, panel = np.random.default_rng(0), BlockPanel(512)
    losses = draws.normal(-5.0, 1.0, 512)
    for step in range(20):
        rows = panel.next(32)
        found = panel.update(step, rows, losses[rows, None], least=-np.inf)
    assert found.lower[0] < -5.0 < found.upper[0] < -4.0
