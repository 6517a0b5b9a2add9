"""The benchmark's ground truth, its peers and its tables: what its figures rest on."""

import math

import numpy as np
import pytest

from tests.benchmarks.warnings.courses import Course, class_entropy, courses, rise
from tests.benchmarks.warnings.detectors import Verdict, without_labels
from tests.benchmarks.warnings.grid import DEVELOPMENT, HELD_APART, LATE, LOSS_ONLY, grid
from tests.benchmarks.warnings.peers import evidence, label_wave, oracle, patience
from tests.benchmarks.warnings.table import Judged, kind_of, summary, wilson
from tests.benchmarks.warnings.truth import truth_of

RISING_THEN_FALLING = [0.5, 0.7, 0.8, 0.9, 0.9, 0.9, 0.85, 0.8, 0.75, 0.7, 0.7, 0.7, 0.7, 0.7]
HEALTHY = [0.5, 0.7, 0.8, 0.9, 0.9, 0.9, 0.9, 0.88, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9]


def stored(accuracies, losses=None):
    losses = [1 - a for a in accuracies] if losses is None else losses
    truth = [[10 * i, loss, a] for i, (loss, a) in enumerate(zip(losses, accuracies, strict=True))]
    epochs = [[step, loss, a, 0.1] for step, loss, a in truth]
    return {"truth": truth, "epochs": epochs, "loss_only": False}


def course_of(accuracies, losses=None):
    return truth_of(stored(accuracies, losses), loss_only=False)


def test_a_run_degrades_that_ends_three_points_below_its_best():
    assert course_of(RISING_THEN_FALLING).degraded
    assert not course_of(HEALTHY).degraded
    assert not course_of([0.9] * 5 + [0.88] * 6).degraded
    assert course_of([0.9] * 5 + [0.86] * 6).degraded


def test_a_run_that_gets_better_to_the_last_is_sound():
    assert not course_of([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]).degraded


def test_one_lucky_validation_is_no_best():
    assert not course_of([0.8, 0.9, 0.8, 0.8, 0.8, 0.8, 0.8]).degraded


def test_where_no_accuracy_is_a_loss_a_tenth_higher_counts():
    losses = [1.0, 0.5, 0.5, 0.5, 0.56, 0.56, 0.56, 0.56, 0.56]
    run = stored([math.nan] * 9, losses)
    assert truth_of(run, loss_only=True).degraded
    run = stored([math.nan] * 9, [*losses[:4], *[0.54] * 5])
    assert not truth_of(run, loss_only=True).degraded


def test_stopping_spares_what_has_not_been_lost_yet():
    truth = course_of(RISING_THEN_FALLING)
    assert truth.spared(40) == pytest.approx(1.0)
    assert truth.spared(70) == pytest.approx(0.5)
    assert truth.spared(130) == pytest.approx(0.0)
    assert truth.spared(None) == 0.0
    assert truth.spared(0) == pytest.approx(-1.0)  # -1 at least, however bad


def test_a_warning_in_a_run_that_recovers_is_judged_by_what_was_so_at_that_step():
    dip = course_of([0.5, 0.9, 0.9, 0.9, 0.8, 0.8, 0.8, 0.9, 0.9, 0.9, 0.9, 0.9])
    assert not dip.degraded
    assert kind_of(dip, Verdict(50)) == "true then"
    assert kind_of(dip, Verdict(100)) == "false"
    assert kind_of(dip, Verdict(None)) == ""
    unsure = course_of([0.9] * 8, [0.3, 0.3, 0.3, 0.4, 0.5, 0.6, 0.6, 0.6])
    assert kind_of(unsure, Verdict(50)) == "loss only"


def test_early_stopping_counts_epochs_without_a_new_best():
    run = stored(RISING_THEN_FALLING)
    assert patience(5, by="accuracy")(run) == 80
    assert patience(5, by="loss")(run) == 80
    assert patience(20, by="loss")(run) is None


def test_the_oracle_reacts_to_the_first_fall_by_two_points():
    assert oracle(stored(RISING_THEN_FALLING)) == 60
    assert oracle(stored([0.5, 0.7, 0.9, 0.89, 0.9])) is None
    run = stored([math.nan] * 4, [1.0, 0.5, 0.52, 0.54]) | {"loss_only": True}
    assert oracle(run) == 30


def test_label_wave_stops_where_the_smoothed_changes_first_rise():
    changes = [1.0, 0.5, 0.3, 0.2, 0.1, 0.1, 0.1, 0.3, 0.5]
    run = {"epochs": [[10 * i, 0.0, 0.0, change] for i, change in enumerate(changes)]}
    assert label_wave(run) == 70
    run["epochs"] = run["epochs"][:6]
    assert label_wave(run) is None


def test_the_evidence_criterion_stops_above_zero():
    assert evidence({"evidence": [[0, -3.0], [10, -0.1], [20, 0.05]]}) == 20
    assert evidence({"evidence": [[0, -3.0]]}) is None


def test_what_labels_tell_is_taken_from_a_record():
    held_out = {"loss": 0.3, "losses": [0.3], "correct": [1], "accuracy": 0.9, "predicted": [4], "inputs": 1}
    bare = without_labels({"step": 3, "held_out": held_out, "classes": [[0, 1]], "logged": {"loss": 1.0}})
    assert bare["held_out"]["predicted"] == [4]
    assert not any(bare["held_out"][name] for name in ("loss", "losses", "correct", "accuracy"))
    assert bare["classes"] is None
    assert bare["logged"] == {"loss": 1.0}


def test_the_table_counts():
    ill, sound = course_of(RISING_THEN_FALLING), course_of(HEALTHY)
    runs = [
        Judged({}, ill, {"a": Verdict(70, best=40)}),
        Judged({}, ill, {"a": Verdict(None)}),
        Judged({}, sound, {"a": Verdict(100)}),
        Judged({}, sound, {"a": Verdict(None)}),
    ]
    row = summary(runs, {"a": "nothing"}).splitlines()[-1].split(" | ")
    assert row[2].startswith("50%")
    assert row[3].startswith("50%")
    assert row[4].startswith("0%")
    assert row[6].startswith("0.25")
    assert row[7].startswith("0.50")


def test_wilson_holds_the_share_and_stays_within_bounds():
    low, high = wilson(0, 20)
    assert low == 0 < high < 0.17
    assert wilson(20, 20)[1] == 1
    assert wilson(5, 10) == pytest.approx((0.2366, 0.7634), abs=1e-3)


def test_chance_has_no_rise_however_many_probes_the_lowest_is_chosen_from():
    generator = np.random.default_rng(0)
    noise = [(generator.random((60, 256)) < 0.1).astype(float) for _ in range(60)]
    steps = np.arange(60.0)
    late = np.array([rise(Course(steps, values)).mean[-1] for values in noise])
    assert abs(late.mean()) < 0.01  # 0.03 where the lowest is chosen on the units it is judged on
    z = np.array([rise(Course(steps, values)).z[-1] for values in noise])
    assert (z > 2).mean() < 0.1
    worse = [values + 0.05 * (steps >= 50)[:, None] for values in noise]
    assert np.mean([rise(Course(steps, values)).mean[-1] for values in worse]) > 0.04


def record(step, places, predicted, correct):
    held_out = {
        "inputs": 4,
        "measured": places,
        "predicted": predicted,
        "correct": correct,
        "losses": [0.5] * len(predicted),
    }
    return {
        "step": step,
        "held_out": held_out,
        "pairs": 2,
        "measured": None,
        "layers": ["0", "1"],
        "network_r1": [3, 2],
        "network_r2": [4, 2],
        "path_r1_cumulative": [[1, 3], [1, 2]],
        "path_r2": [[1, 3], [1, 1]],
        "decision": {"path_changes": [1, 0], "path_elsewhere": [0.5, 0.0], "of": 3},
    }


def test_a_course_holds_the_latest_of_each_input_and_path():
    first, second = record(0, None, [0, 1, 2, 0], [1, 1, 0, 0]), record(10, [1, 3], [2, 0], [0, 1])
    run = {"records": [first, second], "paths": []}
    found = courses(run)
    assert found["error"].values.tolist() == [[0, 0, 1, 1], [0, 1, 1, 0]]
    assert found["churn"].values[1].tolist() == [0, 1, 0, 0]
    assert found["turned"].values[1].tolist() == [0, 1, 0, 0]
    assert found["phi"].values[0].tolist() == [0.25, 0.0]
    assert found["depth"].values[0].tolist() == [0.0, 0.0]
    assert found["changes"].values[1].tolist() == [1, 0]
    assert class_entropy(run) == pytest.approx([1.0397 / np.log(3), np.log(2) / np.log(3)], abs=1e-3)


def test_a_reference_is_taken_only_from_where_it_may_be():
    values = np.repeat([[0.0], [0.5], [0.4], [0.6]], 8, axis=1) + np.tile([0.0, 0.01], 4)
    course = Course(np.arange(4.0), values)
    assert rise(course, reference=1).mean[-1] == pytest.approx(0.6)
    later = rise(course, np.array([False, True, True, True]), reference=1)
    assert math.isnan(later.mean[0])
    assert later.mean[-1] == pytest.approx(0.2)
    assert later.passes(0.1, 2.0).tolist() == [False, False, False, True]


def test_the_parts_share_no_family_and_no_architecture():
    specs = grid(3)
    parts = [[spec for spec in specs if spec.part == part] for part in ("development", "held apart")]
    assert not {spec.data for spec in parts[0]} & {spec.data for spec in parts[1]}
    assert not {spec.architecture for spec in parts[0]} & {spec.architecture for spec in parts[1]}
    assert {spec.data for spec in specs} == {*DEVELOPMENT, *HELD_APART, *LATE, *LOSS_ONLY}
    assert len({spec.key for spec in specs}) == len(specs)
