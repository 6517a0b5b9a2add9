import json

import numpy as np
import pytest

from foldmon.warning.history import CAPACITY, History
from foldmon.warning.signals import (
    SHAPES,
    fall,
    recent,
    rise,
    running_means,
    signals,
    since_early,
    since_highest,
    since_lowest,
    slope,
    trend,
)

FLAT = np.full(30, 2.0)
RAMP = np.arange(30.0)
# Falls to a plateau at 1, then turns upward by 2.
UPTURN = np.concatenate([np.linspace(5, 1, 10), np.ones(10), np.linspace(1, 3, 10)])


@pytest.mark.parametrize("name", sorted(set(SHAPES) - {"recent"}))
def test_nothing_moves_in_a_flat_course(name):
    assert SHAPES[name](FLAT) == pytest.approx(0)


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("length", [1, 2, 3, 5])
def test_short_courses_have_finite_signals(name, length):
    assert np.isfinite(SHAPES[name](RAMP[:length]))


@pytest.mark.parametrize("name", sorted(set(SHAPES) - {"recent"}))
def test_signals_do_not_depend_on_the_level(name):
    assert SHAPES[name](UPTURN + 100) == pytest.approx(SHAPES[name](UPTURN))


def test_rise_is_the_upturn_from_the_minimum_and_fall_its_mirror():
    assert rise(UPTURN) == pytest.approx(UPTURN[-3:].mean() - 1)
    assert rise(UPTURN[:20]) == pytest.approx(0)
    assert fall(-UPTURN) == pytest.approx(rise(UPTURN))


def test_the_values_at_initialisation_are_no_plateau():
    assert rise(np.array([0.0, 0.0, 0.0, 5, 5, 5, 5, 5])) == pytest.approx(5)
    assert fall(np.array([9.0, 9.0, 5, 5, 5, 5, 5, 5])) == pytest.approx(8 / 3)


def test_recent_trend_slope_and_since_early_on_a_ramp():
    assert recent(RAMP) == 28
    assert trend(RAMP) == pytest.approx(28 - 21.5)
    assert slope(RAMP) == pytest.approx(30)
    assert since_early(RAMP) == pytest.approx(28 - 6)


def test_time_since_the_lowest_and_the_highest_mean():
    assert since_lowest(RAMP) == pytest.approx(27 / 30)
    assert since_highest(RAMP) == 0
    assert since_lowest(-RAMP) == 0


@pytest.mark.parametrize("length", [1, 2, 5, 30])
def test_several_courses_at_once_are_those_one_by_one(length):
    courses = np.random.default_rng(0).normal(size=(length, 4))
    for name, shape in SHAPES.items():
        alone = [shape(courses[:, column]) for column in range(4)]
        assert shape(courses) == pytest.approx(np.array(alone)), name
    together = signals(courses)
    assert together.shape == (4, len(SHAPES))
    assert together[2].tolist() == [float(shape(courses)[2]) for shape in SHAPES.values()]


def test_running_means_are_of_up_to_three_values():
    assert running_means(RAMP[:6]).tolist() == [1, 2, 3, 4]
    assert running_means(RAMP[:2]).tolist() == [0.5]


def test_a_reading_never_given_does_not_move():
    history = History()
    history.add(1, {"changes": 1.0})
    assert history["phi"].tolist() == [0]


def test_history_closes_gaps_with_the_value_before():
    history = History()
    for value in (np.nan, 1.0, np.nan, np.inf, 2.0):
        history.add(0, {"phi": value})
    assert history["phi"].tolist() == [1, 1, 1, 1, 2]
    assert history.knows("phi")
    assert not history.knows("loss")


def test_a_reading_may_come_late():
    history = History()
    history.add(1, {"phi": 1.0})
    history.add(2, {"phi": 2.0, "loss": 3.0})
    assert history["loss"].tolist() == [3, 3]
    assert history.names("lo") == ["ss"]


def test_history_stays_bounded_and_keeps_the_course_of_a_long_run():
    history = History()
    for step in range(10_000):
        history.add(step, {"phi": step / 10_000})
    assert len(history) < CAPACITY
    assert history.steps == sorted(history.steps)
    assert history["phi"] == pytest.approx(np.array(history.steps) / 10_000, abs=0.01)
    assert slope(history["phi"]) == pytest.approx(1, abs=0.02)


def test_history_goes_on_from_a_saved_state():
    whole, first, second = History(), History(), History()
    values = np.random.default_rng(0).normal(size=401)
    for step, value in enumerate(values[:201]):
        whole.add(step, {"phi": value}), first.add(step, {"phi": value})
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    for step, value in enumerate(values[201:]):
        whole.add(step, {"phi": value}), second.add(step, {"phi": value})
    assert json.dumps(second.state_dict()) == json.dumps(whole.state_dict())
