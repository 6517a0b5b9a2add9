"""Values of many members over a run."""

import json

import numpy as np

from foldmon.warning.course import CAPACITY, Course, training_time


def test_bins_are_probes_until_there_are_many_and_then_even_in_training_time():
    course = Course(1, 1)
    for step in range(2000):
        course.add(step, np.arange(1), np.array([[float(step)]]))
    assert len(course) == CAPACITY
    widths = np.diff(course.times)
    assert widths.max() < 3 * np.median(widths)
    before = np.r_[-1, course.steps[:-1]]
    assert np.allclose(course.values[:, 0, 0], (before + 1 + course.steps) / 2), "means of all in a bin"


def test_members_that_take_turns_keep_their_latest_value():
    course = Course(3, 1)
    course.add(0, np.array([0, 1]), np.array([[1.0, 2.0]]))
    assert len(course) == 0, "one was not looked at yet"
    course.add(5, np.array([2]), np.array([[3.0]]))
    course.add(9, np.array([0]), np.array([[7.0]]))
    assert course.values[:, 0].tolist() == [[1.0, 2.0, 3.0], [7.0, 2.0, 3.0]]


def test_a_step_before_the_last_one_begins_again_from_there():
    course = Course(1, 1)
    for step in (10, 20, 30, 15):
        course.add(step, np.arange(1), np.array([[float(step)]]))
    assert course.steps.tolist() == [10, 15]


def test_a_saved_course_goes_on_the_same():
    course = Course(3, 2)
    for step in range(0, 3000, 7):
        course.add(step, np.array([step % 3]), np.full((2, 1), step / 7))
    again = Course.from_state(json.loads(json.dumps(course.state_dict())))
    for one in (course, again):
        one.add(4000, np.array([1]), np.ones((2, 1)))
    assert np.array_equal(course.values, again.values)
    assert np.array_equal(course.steps, again.steps)


def test_time_is_a_share_of_the_run():
    assert np.isclose(training_time(1100 * 10) - training_time(1000 * 10), np.log(1.1), atol=1e-3)
