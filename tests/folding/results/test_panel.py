import json
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foldmon.folding.results.composite import EARLY, EFFECT, FADING, UNIT, Composite
from foldmon.folding.results.panel import Panel, _interval, bootstrap_intervals
from foldmon.folding.results.statistics import bootstrap_interval

PAIRS = 64


def noise(seed, *shape):
    return np.random.default_rng(seed).gamma(1.0, 0.05, size=shape)


class Dense:
    """The model of ``Composite`` at one rate, written out: every value is a sum of independent draws.

    Columns are the level's start, its innovations, and for each pair its effect's start and innovations and
    what is new at each time. Estimates are by conditioning on all observations at once.
    """

    def __init__(self, pairs, steps, rate):
        units = np.diff(np.log(np.array(steps) + EARLY)) / UNIT
        times = len(steps)
        self.level = np.zeros((times, times + 2 * pairs * times))
        self.level[:, 0] = 1e2
        for t in range(1, times):
            self.level[t:, t] = np.sqrt(rate * units[t - 1])
        self.theta = np.tile(self.level[:, None], (1, pairs, 1))
        for pair in range(pairs):
            start = times + 2 * pair * times
            effect = np.zeros((times, times))
            effect[0, 0] = np.sqrt(EFFECT)
            for t in range(1, times):
                kept = FADING ** units[t - 1]
                effect[t] = kept * effect[t - 1]
                effect[t, t] = np.sqrt(EFFECT * (1 - kept**2))
            self.theta[:, pair, start : start + times] = effect
            self.theta[:, pair, start + times : start + 2 * times] = np.sqrt(1 - EFFECT) * np.eye(times)

    def estimate(self, observed, values):
        """Panel mean at the last time, given observations (time, pair), and its variance about the level."""
        rows = np.array([self.theta[time, pair] for time, pair in observed])
        gain = np.linalg.solve(rows @ rows.T, rows @ self.theta[-1].mean(0))
        return gain @ values, ((gain @ rows - self.level[-1]) ** 2).sum()


@pytest.mark.parametrize("shares", [[1] * 9, [2, 1, 3, 2, 2, 1], [5, 1, 1, 4, 2], [3, 5, 2, 2]])
@pytest.mark.parametrize("rate", [1e-3, 1e-1, 3.0])
def test_estimate_is_that_of_conditioning_on_all_observations(shares, rate):
    pairs, steps = 5, [0, 1, 2, 5, 9, 30, 31, 40, 60][: len(shares)]
    dense, composite = Dense(pairs, steps, rate), Composite(pairs, 1, rates=(rate,))
    turns, table, observed = Panel(pairs), noise(1, len(steps), pairs), []
    for time, (step, share) in enumerate(zip(steps, shares, strict=True)):
        measured = turns.next(share)
        if time:
            composite.advance(steps[time - 1], step)
        composite.correct(measured, table[time, measured, None])
        observed += [(time, int(pair)) for pair in measured]
    values = np.array([table[at] for at in observed])
    start = table[0, [pair for time, pair in observed if time == 0]].mean()  # where the level starts from
    mean, variance = dense.estimate(observed, values - start)
    assert composite.estimate(measured)[0][0] == pytest.approx(start + mean, rel=1e-5)
    # Some 1e-4 of the level's start remain, whose standard deviation is 100.
    assert composite.variance(measured)[0] == pytest.approx(variance, rel=2e-3)


def test_a_variance_that_is_told_is_believed():
    told, table = Panel(PAIRS), np.random.default_rng(0).normal(1.0, 0.1, size=(40, PAIRS, 2)).clip(0)
    told.update(0, np.arange(4), table[0, :4])  # not told yet
    for step, values in enumerate(table):
        measured = told.next(4)
        wide = told.update(step, measured, values[measured], variance=np.array([0.01, 1.0]))
    ratio = (wide.upper - wide.lower)[1] / (wide.upper - wide.lower)[0]
    assert ratio == pytest.approx(10, rel=0.2)
    # A NaN tells nothing: what is known so far holds.
    still = told.update(40, measured, values[measured], variance=np.array([0.01, np.nan]))
    assert (still.upper - still.lower)[1] == pytest.approx((wide.upper - wide.lower)[1], rel=0.1)


def test_whole_panel_gives_plain_mean_and_todays_interval():
    panel, values = Panel(PAIRS), noise(0, PAIRS, 3)
    values[:, 2] = 0.0
    for step in range(3):
        measured = panel.next(PAIRS)
        estimate = panel.update(step, measured, values[measured], largest=1.0)
    # Summed in the order of the turns.
    assert estimate.mean == pytest.approx(values.mean(0), rel=1e-14)
    for k in range(3):
        assert (estimate.lower[k], estimate.upper[k]) == pytest.approx(
            bootstrap_interval(values[measured, k])
        )


@given(st.integers(2, 40), st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_bootstrap_of_columns_is_the_bootstrap_of_each(pairs, seed):
    values = noise(seed, pairs, 3) * (np.random.default_rng(seed).random((pairs, 3)) < 0.6)
    lower, upper = bootstrap_intervals(values)
    for k in range(3):
        low, high = bootstrap_interval(values[:, k])
        assert (max(0.0, lower[k]), min(1.0, upper[k])) == pytest.approx((low, high), abs=1e-12)


def test_a_single_pair_has_a_mean_and_no_interval():
    estimate = Panel(1).update(0, np.array([0]), np.array([[0.25]]))
    assert estimate.mean[0] == 0.25
    assert np.isnan([estimate.lower[0], estimate.upper[0]]).all()


def test_no_interval_before_two_pairs_are_known():
    panel = Panel(PAIRS)
    first, second = (panel.update(step, panel.next(1), np.array([[0.1 * step]])) for step in (1, 2))
    assert first.mean[0] == 0.1
    assert np.isnan(first.upper[0])
    assert second.lower[0] <= second.mean[0] <= second.upper[0]


@pytest.mark.parametrize("share", [1, 2, 4, 16])
def test_what_differs_between_pairs_does_not_move_the_curve(share):
    panel, effects = Panel(PAIRS), noise(0, PAIRS, 1)
    curve = []
    for step in range(0, 40 * PAIRS // share * 10, 10):
        measured = panel.next(share)
        curve.append(panel.update(step, measured, effects[measured]).mean[0])
    settled = np.array(curve[len(curve) // 2 :])
    one_share = effects.std() / share**0.5  # what the mean of a share alone would move by
    assert np.abs(settled - effects.mean()).max() < 0.25 * one_share


def test_a_jump_of_all_pairs_is_followed():
    panel, effects = Panel(PAIRS), noise(0, PAIRS, 1)
    for probe in range(140):
        measured = panel.next(4)
        jump = 0.5 if probe >= 130 else 0.0
        estimate = panel.update(50 + probe, measured, effects[measured] + jump)
    assert estimate.mean[0] == pytest.approx(effects.mean() + 0.5, abs=0.05)


@given(st.integers(1, 10), st.integers(1, 100), st.lists(st.integers(1, 100), max_size=30), st.integers(0, 9))
@settings(max_examples=50, deadline=None)
def test_every_pair_has_its_turn_before_any_has_a_second(count, pairs, shares, seed):
    classes = np.random.default_rng(seed).integers(count, size=(pairs, 2))
    panel, turns = Panel(pairs, classes, seed=seed), Counter(range(pairs))
    for share in shares:
        turns.update(panel.next(min(share, pairs)).tolist())
        assert max(turns.values()) - min(turns.values()) <= 1


def test_shares_are_balanced_over_class_pairs_and_classes():
    strata = [(a, b) for a in range(4) for b in range(a + 1, 4)]
    classes = np.array([strata[p % 6] if p % 2 else strata[p % 6][::-1] for p in range(48)])
    panel = Panel(48, classes)
    for _ in range(16):
        joined = Counter(tuple(sorted(ends)) for ends in classes[panel.next(6)].tolist())
        assert set(joined.values()) == {1}
    for _ in range(24):
        assert Counter(classes[panel.next(2)].ravel().tolist()) == Counter(range(4))


def test_class_pairs_of_unequal_numbers_are_spread_over_the_round():
    classes = np.array([(0, 1)] * 40 + [(0, 2)] * 20 + [(1, 2)] * 4)
    panel = Panel(64, classes)
    shares = [panel.next(16) for _ in range(4)]
    assert [[int((np.unique(share) < edge).sum()) for edge in (40, 60)] for share in shares] == [[10, 15]] * 4


def test_order_is_fixed_by_the_seed():
    one, same, other = (Panel(PAIRS, seed=seed).next(PAIRS).tolist() for seed in (1, 1, 2))
    assert one == same != other


def test_nan_in_one_quantity_leaves_the_others_be():
    clean, holed = Panel(PAIRS), Panel(PAIRS)
    table = noise(0, 60, PAIRS, 3)
    for step, values in enumerate(table):
        measured = clean.next(2)
        assert holed.next(2).tolist() == measured.tolist()
        spoiled = values[measured].copy()
        spoiled[0, 1] = np.nan if step < 20 or step % 7 == 0 else spoiled[0, 1]
        spoiled[:, 2] = np.nan if step < 20 else spoiled[:, 2]
        one, two = clean.update(step, measured, values[measured]), holed.update(step, measured, spoiled)
        assert two.mean[0] == one.mean[0]
        assert np.isnan(two.mean[1]) == (step < 20 or step % 7 == 0)
        assert np.isnan(two.lower[2]) == (step < 20)
    assert np.isfinite([two.mean, two.lower, two.upper]).all()
    assert two.mean == pytest.approx(one.mean, abs=0.02)


def test_a_quantity_that_is_always_0_stays_0():
    panel = Panel(PAIRS)
    for step in range(20):
        estimate = panel.update(step, panel.next(3), np.zeros((3, 2)))
    assert [estimate.mean.tolist(), estimate.lower.tolist(), estimate.upper.tolist()] == [[0.0, 0.0]] * 3


def test_intervals_stay_within_what_a_quantity_can_be():
    panel, table = Panel(PAIRS), np.random.default_rng(0).integers(0, 2, size=(30, PAIRS, 2)).astype(float)
    for step, values in enumerate(table):
        measured = panel.next(2)
        estimate = panel.update(step, measured, values[measured], largest=np.array([1.0, 32.0]))
        assert estimate.mean.min() >= 0
        assert estimate.mean[0] <= 1
        assert step == 0 or (estimate.lower.min() >= 0 and estimate.upper[0] <= 1)


def test_history_is_dropped_where_the_quantities_change():
    panel, fresh = Panel(PAIRS), Panel(PAIRS)
    for step in range(5):
        panel.update(step, panel.next(2), noise(step, 2, 3))
        fresh.next(2)
    values = noise(9, 2, 4)
    assert np.array_equal(
        panel.update(5, panel.next(2), values).mean, fresh.update(5, fresh.next(2), values).mean
    )


@pytest.mark.parametrize("probes", [0, 1, 30])
def test_state_goes_through_json(probes):
    panel, table = Panel(PAIRS, seed=3), noise(0, 60, PAIRS, 4)
    table[:15, :, 1] = np.nan
    for step in range(probes):
        measured = panel.next(3)
        panel.update(step, measured, table[step, measured])
    resumed = Panel(PAIRS)
    resumed.load_state_dict(json.loads(json.dumps(panel.state_dict(), allow_nan=False)))
    for step in range(probes, 60):
        measured = panel.next(3)
        assert np.array_equal(measured, resumed.next(3))
        one, two = (p.update(step, measured, table[step, measured]) for p in (panel, resumed))
        for name in ("mean", "lower", "upper"):
            assert np.array_equal(getattr(one, name), getattr(two, name), equal_nan=True)


def test_state_of_another_panel_is_refused():
    with pytest.raises(ValueError, match="of 64 pairs, the panel has 8"):
        Panel(8).load_state_dict(Panel(64).state_dict())


@pytest.mark.parametrize(
    ("measured", "shape"),
    [([0, 0], (2, 1)), ([64], (1, 1)), ([-1], (1, 1)), ([0], (2, 1)), ([0], (1,)), ([], (0, 1))],
)
def test_wrong_arguments_are_refused(measured, shape):
    with pytest.raises(ValueError, match="measured"):
        Panel(PAIRS).update(0, np.array(measured, dtype=int), np.zeros(shape))


def test_wrong_panels_and_shares_are_refused():
    with pytest.raises(ValueError, match="at least one pair"):
        Panel(0)
    with pytest.raises(ValueError, match=r"shape \(3, 2\)"):
        Panel(3, np.zeros((2, 2), dtype=int))
    for count in (0, 4):
        with pytest.raises(ValueError, match="1 to 3 pairs"):
            Panel(3).next(count)


PROBES, REPEATS = 120, 300
COURSES = {
    "falling": 0.02 + 0.06 * np.exp(-np.arange(PROBES) / 25),
    "growing": 0.01 + 0.0008 * np.arange(PROBES),
    "flat": np.full(PROBES, 0.05),
    "jump": np.where(np.arange(PROBES) < 60, 0.02, 0.08),
}


def followed(level, share):
    """Whether each interval covers, and its width over the whole panel's, of REPEATS panels as columns.

    Values are skewed and their size follows the level; half of the time a pair keeps what is its own.
    """
    generator, panel, step = np.random.default_rng(share), Panel(PAIRS), 0
    lasting = generator.gamma(0.7, 1 / 0.7, size=(PAIRS, REPEATS))
    covered, widths = [], []
    for now in level:
        new = generator.gamma(0.7, 1 / 0.7, size=(PAIRS, REPEATS))
        values = now * np.where(generator.random((PAIRS, REPEATS)) < 0.5, lasting, new)
        measured = panel.next(share)
        estimate = panel.update(step, measured, values[measured])
        covered.append((estimate.lower <= now) & (now <= estimate.upper))
        widths.append((estimate.upper - estimate.lower) / (2 * 1.96 * values.std(0) / PAIRS**0.5))
        step += max(1, step // 50)
    return np.array(covered), np.array(widths)


@pytest.mark.parametrize("course", ["falling", "growing", "flat"])
@pytest.mark.parametrize(("share", "lowest", "widest"), [(1, 0.8, 5.5), (4, 0.9, 2.6), (16, 0.93, 1.8)])
def test_interval_covers(course, share, lowest, widest):
    """Over the course; at the worst probe a single pair lags behind tenfold growth (0.84)."""
    covered, widths = followed(COURSES[course], share)
    assert covered[2:].mean() >= 0.93
    assert covered[10:].mean(1).min() >= lowest
    assert widths[30:].mean() < widest


@pytest.mark.parametrize(("share", "within"), [(1, 30), (4, 12), (16, 3)])
def test_interval_covers_again_soon_after_a_jump_to_fourfold(share, within):
    covered, _ = followed(COURSES["jump"], share)
    assert covered[10:60].mean(1).min() >= 0.9
    assert covered[60 + within :].mean(1).min() >= 0.88


@pytest.mark.parametrize("share", [4, 12])
def test_the_estimate_stays_sound_over_thousands_of_probes(share):
    """Rounding must not build up: an asymmetric covariance doubles with every few probes, up to infinity."""
    panel, effects = Panel(16), noise(3, 16, 1)
    draw, truth = np.random.default_rng(4), 0.3 + effects.mean()
    for probe in range(2000):
        measured = panel.next(share)
        values = 0.3 + effects[measured] + 0.01 * draw.standard_normal((share, 1))
        estimate = panel.update(100 * probe, measured, values)
    covariance = panel._composite.covariance
    np.testing.assert_allclose(covariance, covariance.transpose(0, 2, 1), rtol=0, atol=1e-12)
    assert np.linalg.eigvalsh(covariance).min() > 0
    assert estimate.mean[0] == pytest.approx(truth, abs=0.02)
    assert estimate.lower[0] < truth < estimate.upper[0]


def test_where_hardly_any_path_folds_the_interval_is_as_wide_as_at_a_mean_of_one_standard_error():
    """The variance is taken to be proportional to the mean: at a mean near 0 that would be any width."""
    mean, error = np.array([0.0, 1e-4, 1e-3, 1e-2]), 0.01
    known = np.full(4, 1e9)
    lower, upper = _interval(mean, np.full(4, error**2), known, np.ones(4, dtype=bool))
    quantile = 1.96
    assert upper[0] == pytest.approx(quantile**2 * error, rel=1e-3)
    assert (np.diff(upper) > 0).all()
    assert upper[3] - mean[3] < 1.4 * quantile**2 * error
    np.testing.assert_allclose(lower, mean - quantile * error, rtol=1e-3)
