"""What the model held of an input for longest."""

import numpy as np

from foldmon.warning.votes import KEPT, Votes


def test_an_input_turns_once_it_is_predicted_otherwise_than_for_long():
    votes, row = Votes(1), np.arange(1)
    course = [3] * 10 + [4] * 30
    turned = [votes.turned(100 + 10 * i, row, np.array([c]))[0] for i, c in enumerate(course)]
    assert turned[:10] == [0.0] * 10
    assert turned[10] == 1.0
    assert turned[-1] == 0.0, "what it holds now has become what it held for longest"
    assert sum(turned[10:]) > 3


def test_only_what_was_looked_at_votes():
    votes = Votes(3)
    votes.turned(0, np.array([0, 2]), np.array([1, 1]))
    assert votes.turned(10, np.arange(3), np.array([1, 1, 2])).tolist() == [0.0, 0.0, 1.0]


def test_thousands_of_classes_need_no_more_room():
    votes, row = Votes(1), np.arange(1)
    for step in range(500):
        votes.turned(step, row, np.array([7 if step % 2 else 1000 + step]))
    assert votes.turned(501, row, np.array([7])).tolist() == [0.0]
    assert len(votes.state_dict()["classes"][0]) == KEPT


def test_saved_votes_go_on_the_same():
    draw = np.random.default_rng(0)
    one, rows = Votes(5), np.arange(5)
    for step in range(20):
        one.turned(step, rows, draw.integers(3, size=5))
    other = Votes.from_state(one.state_dict())
    for step in range(20, 40):
        predicted = draw.integers(3, size=5)
        assert np.array_equal(one.turned(step, rows, predicted), other.turned(step, rows, predicted))
