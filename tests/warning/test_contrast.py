"""The paired, cross-fitted test: it finds a fall where inputs take turns, and finds none by chance."""

import numpy as np
import pytest

from foldmon.warning.contrast import contrast, lowest_step, rise, smoothed, wandering
from foldmon.warning.course import Course
from tests.warning.courses import INPUTS, SIZE, falling, learned, run


def course_of(records):
    """The error of blocks of 16 inputs, after every record."""
    course = Course(INPUTS // SIZE, 1)
    for record in records:
        held_out = record["held_out"]
        rows = np.arange(INPUTS) if held_out["measured"] is None else np.array(held_out["measured"])
        errors = 1.0 - np.array(held_out["correct"], float).reshape(-1, SIZE).mean(1)
        course.add(record["step"], rows[::SIZE] // SIZE, errors[None])
        yield course


@pytest.mark.parametrize("blocks", [2, 8, 32])
def test_a_fall_is_measured_where_inputs_take_turns(blocks):
    *_, course = course_of(run(falling(400, by=0.1), blocks=blocks))
    test = rise(course, 0)
    assert 0.05 < test.rise < 0.15
    assert test.z > 3
    assert test.chance < 0.001


def test_choosing_the_best_time_costs_nothing():
    """On flat courses the rise is 0 on average, though the best of all times is what it is measured from."""
    found = []
    for seed in range(30):
        for place, course in enumerate(course_of(run(lambda step: 0.85, 200, blocks=8, seed=seed))):
            if place > 100 and place % 20 == 0:
                found.append(rise(course, 0))
    assert abs(np.mean([test.rise for test in found])) < 0.01
    assert 0.6 < np.std([test.z for test in found]) < 1.6


def test_the_error_of_the_mean_is_never_judged_by_one_or_two_differences():
    few = np.zeros(32)
    few[:2] = 1 / 16
    assert contrast(few).z < 1.5
    assert contrast(np.zeros(32)).z == 0.0


def test_few_blocks_tell_less():
    few, many = np.tile([0.0, 0.1], 4), np.tile([0.0, 0.1], 16)
    t = few.mean() / (few.std(ddof=1) / 8**0.5)
    assert contrast(few).z < 0.8 * t
    assert contrast(many).z > 1.7 * contrast(few).z


def test_nothing_is_compared_before_every_block_was_looked_at_nor_where_they_are_few():
    course, few = Course(32, 1), Course(4, 1)
    for step in range(12):
        course.add(step, np.arange(3) + 3 * (step % 2), np.zeros((1, 3)))
        few.add(step, np.arange(4), np.zeros((1, 4)))
        assert rise(course, 0) is rise(few, 0) is None


def test_a_time_that_may_not_be_the_best_is_none():
    course = Course(32, 1)
    for step, value in enumerate((0.1, 0.2, 0.3)):
        draw = np.random.default_rng(step).normal(size=(1, 32))
        course.add(step, np.arange(32), value + 0.01 * draw)
    assert rise(course, 0).rise == pytest.approx(0.2, abs=0.01)
    later = rise(course, 0, np.array([False, True, True]))
    assert later.rise == pytest.approx(0.15, abs=0.01), "the mean of the best time and those just before it"
    assert rise(course, 0, np.zeros(3, bool)) is None
    assert lowest_step(course, 0, np.zeros(3, bool)) is None


def test_the_lowest_step_is_the_best_of_the_run():
    *_, course = course_of(run(falling(400, by=0.2), blocks=8))
    assert 100 < lowest_step(course, 0) < 500
    *_, course = course_of(run(learned, 60, blocks=8))
    assert lowest_step(course, 0) > 30


def wavering(by, fall, probes=120, seed=0):
    """Blocks that all go up and down together from probe to probe, and from probe 100 on by a fall, too."""
    draw, course = np.random.default_rng(seed), Course(32, 1)
    own = draw.normal(scale=0.02, size=32)
    for place in range(probes):
        shared = draw.normal(scale=by) + fall * (place >= 100)
        course.add(200 + 5 * place, np.arange(32), 0.2 + own[None] + shared + 0.001 * draw.normal(size=32))
        yield course


def test_what_all_inputs_share_from_probe_to_probe_is_hardly_a_fall():
    """Between the blocks it shows nowhere: without it nearly every look above the lowest one were proof."""
    last = [course for seed in range(40) for *_, course in [wavering(0.02, 0.0, seed=seed)]]
    found = [rise(course, 0) for course in last]
    blind = [contrast(course.latest[0] - smoothed(course, 0)[lowest(course)]) for course in last]
    assert np.mean([test.z > 2.4 for test in blind]) > 0.75
    assert np.mean([test.z > 2.4 for test in found]) < 0.15


def lowest(course):
    return list(course.steps).index(lowest_step(course, 0))


def test_a_fall_within_the_wandering_shows_in_means_over_several_probes():
    [*_, first] = wavering(0.02, 0.05, probes=101)
    *_, late = wavering(0.02, 0.05, probes=110)
    assert rise(first, 0).z < rise(late, 0).z
    assert rise(late, 0).z > 2.5


def test_a_sudden_fall_of_a_steady_model_shows_at_once():
    *_, course = wavering(0.001, 0.05, probes=101)
    assert rise(course, 0).z > 2.5
    assert rise(course, 0).rise == pytest.approx(0.05, abs=0.005)


def test_a_trend_is_no_wandering_and_the_last_bin_is_not_asked():
    steps = np.arange(40.0)
    assert wandering(0.5 - 0.01 * steps) == pytest.approx(0.0, abs=1e-12)
    assert wandering(np.append(0.5 - 0.01 * steps, 0.9)) == pytest.approx(0.0, abs=1e-12)
    noise = np.random.default_rng(0).normal(scale=0.03, size=2000)
    found = [wandering(noise[begin : begin + 40]) for begin in range(0, 2000, 40)]
    assert np.mean(found) == pytest.approx(0.03, rel=0.1)
    assert wandering(np.array([0.1, 0.5, 0.2])) == 0.0, "too few to tell"
