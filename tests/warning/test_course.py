"""Values of many members over a run."""

import numpy as np

from foldmon.warning.course import CAPACITY, Course, training_time


def test_bins_are_probes_until_there_are_many_and_then_even_in_training_time():
    course = Course(2, 1)
    for step in range(2000):
        course.add(step, np.array([step % 2]), np.array([[float(step)]]))
    assert len(course) == CAPACITY
    assert course.counts.sum() == 2000, "nothing is lost"
    assert course.sums.sum() == sum(range(2000))
    widths = np.diff(course.times)
    assert widths.max() < 3 * np.median(widths)


def test_a_step_before_the_last_one_begins_again_from_there():
    course = Course(1, 1)
    for step in (10, 20, 30, 15):
        course.add(step, np.arange(1), np.array([[float(step)]]))
    assert course.steps.tolist() == [10, 15]


def test_a_saved_course_goes_on_the_same():
    course = Course(3, 2)
    for step in range(0, 900, 7):
        course.add(step, np.array([0, 2]), np.full((2, 2), step / 7))
    again = Course.from_state(course.state_dict())
    for one in (course, again):
        one.add(1000, np.array([1]), np.ones((2, 1)))
    assert np.array_equal(course.sums, again.sums)
    assert np.array_equal(course.counts, again.counts)
    assert np.array_equal(course.steps, again.steps)


def test_time_is_a_share_of_the_run():
    assert np.isclose(training_time(1100 * 10) - training_time(1000 * 10), np.log(1.1), atol=1e-3)
