"""The benchmark's ground truth: what its table rests on."""

from tests.benchmarks.warnings.grid import DEVELOPMENT, HELD_APART, grid
from tests.benchmarks.warnings.truth import accuracy_degradation, early_stop, loss_degradation, outcome

FALLING = [1.0, 0.6, 0.4, 0.3]


def test_the_loss_degrades_where_it_leaves_its_best_for_good():
    assert loss_degradation([*FALLING, 0.3, 0.34, 0.36, 0.4, 0.4]) == 6
    assert loss_degradation([*FALLING, 0.5, 0.5, 0.5, 0.3]) is None
    assert loss_degradation([*FALLING, 0.5, 0.5]) is None
    assert loss_degradation([*FALLING, float("nan"), float("nan"), float("nan")]) == 4
    assert loss_degradation([0.01, 0.02, 0.03, 0.03, 0.029]) is None


def test_the_accuracy_degrades_two_points_below_the_best_of_medians():
    assert accuracy_degradation([0.9] * 10 + [0.8] * 10) == 12
    assert accuracy_degradation([0.9] * 10 + [0.89] * 10) is None
    assert accuracy_degradation([0.9] * 5 + [0.99] + [0.9] * 10) is None


def test_early_stopping_counts_probes_without_a_new_best():
    assert early_stop([*FALLING, 0.31, 0.32, 0.33], 3) == 6
    assert early_stop(FALLING, 3) is None


def test_outcomes_are_graded():
    def graded(losses):
        return outcome({"labelled": [{"loss": loss, "accuracy": 0.9} for loss in losses]}).kind

    assert graded([*FALLING, 0.3, 0.3, 0.3]) == "healthy"
    assert graded(FALLING + [0.36] * 6) == "slight"
    assert graded(FALLING + [0.9] * 6) == "clear"


def test_the_parts_share_no_family_and_no_architecture():
    assert not DEVELOPMENT.keys() & HELD_APART.keys()
    architectures = [
        {name for names in part.values() for name in names} for part in (DEVELOPMENT, HELD_APART)
    ]
    assert not architectures[0] & architectures[1]
    assert len({spec.key for spec in grid(3)}) == len(grid(3))
