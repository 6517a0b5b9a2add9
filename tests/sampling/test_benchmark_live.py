"""What the benchmark of the one line says of a run, on journals made by hand."""

import pytest
from torch import nn

from tests.benchmarks.live.courses import Course
from tests.benchmarks.live.figures import Watched, cost, course_judged, curves, pairs_a_point, thinned
from tests.benchmarks.live.running import Run

COURSE = Course("by hand", nn.Identity, batch=1, steps=100, judged=8)


def watched(phi: dict[int, float], seconds: float, **more: object) -> Watched:
    """A run of 100 s whose probes cost so much each, of pairs that take a second when all are measured."""
    run = Run(100.0, 5.0, 0.1, "", 0.0, whole_seconds=1.0)
    monitor = {"probe_seconds": 0.9 * seconds, "stall_seconds": 0.1 * seconds}
    records = [
        {"step": step, "phi": value, "phi_interval": [value - 0.1, value + 0.1], "network_r1": [1.0] * 4}
        | {"monitor": monitor, **more}
        for step, value in phi.items()
    ]
    return Watched(run, records, {"budget": 0.01, "allowance": 1.0})


def whole(rise: float = 0.01) -> dict[int, dict[str, float]]:
    """The whole panel's phi rises evenly, from 0 to 1."""
    return {step: {"phi": rise * step, "seconds": 9.0} for step in range(101)}


def test_a_curve_that_says_what_the_whole_panel_says_has_no_error():
    found = curves(COURSE, watched({step: 0.01 * step for step in range(101)}, 0.02), whole())
    assert found.error(found.published) == 0
    assert found.covered == 1
    assert found.rival_probes == 2
    assert found.error(found.rival) > 0.1


def test_a_single_point_is_right_where_it_is_and_wrong_over_the_course():
    found = curves(COURSE, watched({0: 0.0}, 3.0), whole())
    assert found.at_points.sum() == 1
    assert found.error(found.published, found.at_points) == 0
    assert found.error(found.published) > 0.3


def test_the_error_is_over_the_range_and_an_interval_beside_the_truth_covers_nothing():
    found = curves(COURSE, watched({step: 0.02 * step + 0.2 for step in range(101)}, 0.02), whole(0.02))
    assert found.error(found.published) == pytest.approx(0.1)
    assert found.covered == 0


def test_the_rival_of_a_cost_below_one_whole_probe_is_its_first_probe_held():
    found = curves(COURSE, watched(dict.fromkeys(range(10), 0.0), 0.01), whole())
    assert found.rival_probes == 1
    assert set(found.rival) == {0.0}


def test_costs_are_over_the_contract_of_budget_and_allowance():
    plain = Run(98.0, 1.0, 0.1, "", 0.0)
    found = cost([watched({0: 0.0, 50: 0.0}, 1.0)], [plain])
    assert found.shares == [pytest.approx(1.0)]
    assert found.contract == pytest.approx(1.98)
    assert found.outside == [pytest.approx(2 / 1.98)]
    assert found.beside == [pytest.approx(4 / 1.98)]
    assert found.stall == pytest.approx(1.0)


def test_a_probe_of_a_share_says_how_many_pairs_it_measured():
    assert pairs_a_point(watched({0: 0.0}, 1.0)) == 4
    assert pairs_a_point(watched({0: 0.0}, 1.0, measured=[2])) == 1


def test_judged_steps_hold_the_first_and_the_last():
    assert thinned(range(10), 3) == [0, 4, 9]
    assert thinned([5], 3) == [5]
    judged = course_judged(COURSE, 100)
    assert judged[0] == 0
    assert judged[-1] == 100
    assert len(judged) <= 5
