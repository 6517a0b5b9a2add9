"""What the model held of an input for longest."""

import numpy as np

from foldmon.warning.votes import KEPT, Votes


def test_an_input_turns_once_it_is_predicted_otherwise_than_for_long():
    votes, row = Votes(1), np.arange(1)
    course = [3] * 10 + [4] * 30
    turned = [votes.turned(100 + 10 * i, row, np.array([c]), 10)[0] for i, c in enumerate(course)]
    assert turned[:10] == [0.0] * 10
    assert turned[10] == 1.0
    assert turned[-1] == 0.0, "what it holds now has become what it held for long"
    assert sum(turned[10:]) > 3


def test_what_is_not_looked_at_votes_as_it_last_did():
    votes = Votes(2)
    votes.turned(100, np.arange(2), np.array([1, 1]), 3)
    assert votes.turned(110, np.arange(2), np.array([2, 2]), 3).tolist() == [1.0, 1.0]
    for step in range(120, 300, 10):
        turned = votes.turned(step, np.array([0]), np.array([1]), 3)
    assert turned.tolist() == [0.0, 0.0], "the second has been held to be of class 2 by now"


def test_an_input_never_looked_at_is_unknown():
    votes = Votes(3)
    assert np.isnan(votes.turned(0, np.array([0, 2]), np.array([1, 1]), 2)).tolist() == [False, True, False]
    assert votes.turned(10, np.arange(3), np.array([1, 1, 2]), 3).tolist() == [0.0, 0.0, 1.0]


def test_diversity_is_that_of_the_predicted_classes():
    votes, rows = Votes(8), np.arange(8)
    for predicted, expected in (([1] * 8, 0.0), ([0, 1, 2, 3] * 2, 1.0), ([0] * 4 + [1] * 4, 0.5)):
        votes.turned(0, rows, np.array(predicted), classes=4)
        assert np.isclose(votes.entropy, expected)


def test_thousands_of_classes_need_no_more_room():
    votes, row = Votes(1), np.arange(1)
    for step in range(500):
        votes.turned(step, row, np.array([7 if step % 2 else 1000 + step]), 2000)
    assert votes.turned(501, row, np.array([7]), 2000).tolist() == [0.0]
    assert len(votes.state_dict()["classes"][0]) == KEPT


def test_saved_votes_go_on_the_same():
    draw = np.random.default_rng(0)
    one, rows = Votes(5), np.arange(5)
    for step in range(20):
        one.turned(step, rows, draw.integers(3, size=5), 3)
    other = Votes.from_state(one.state_dict())
    for step in range(20, 40):
        predicted = draw.integers(3, size=5)
        turned = [votes.turned(step, rows, predicted, 3) for votes in (one, other)]
        assert np.array_equal(*turned)


def test_the_latest_look_never_outweighs_the_first_at_once():
    votes, row = Votes(1), np.arange(1)
    assert [votes.turned(step, row, np.array([c]), 3)[0] for step, c in ((100, 1), (102, 2), (104, 2))] == [
        0.0,
        1.0,
        1.0,
    ]
