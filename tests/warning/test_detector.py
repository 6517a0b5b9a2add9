"""The detector on made-up runs: what it warns of, when, how severely and in which words."""

import json
import math

import numpy as np
import pytest

from foldmon.warning.detector import Detector
from tests.warning.courses import falling, learned, run


def warnings(records):
    detector = Detector()
    return [warning for record in records if (warning := detector.update(record)) is not None]


def by_hundred(step):
    """A training loss that falls all the time."""
    return 1.0 / (1 + step / 100)


@pytest.mark.parametrize("blocks", [2, 8, 32])
def test_a_fall_of_accuracy_is_warned_of_before_it_is_complete(blocks):
    [warning, *_] = warnings(run(falling(400, by=0.15), blocks=blocks))
    assert warning.kind in ("accuracy", "falling")
    assert 400 < warning.step < 800
    assert 100 < warning.best_step < 600


@pytest.mark.parametrize("labels", [True, False])
def test_a_healthy_run_is_not_warned_of(labels):
    warned = [warnings(run(learned, blocks=8, labels=labels, seed=seed)) for seed in range(6)]
    assert warned == [[]] * 6


def test_without_labels_what_turns_is_warned_of():
    [warning, *_] = warnings(run(falling(400, by=0.15), blocks=8, labels=False))
    assert warning.kind == "turned"
    assert 400 < warning.step < 1000


def test_a_loss_that_rises_alone_is_overconfidence_and_mild():
    def rising(step):
        return 0.3 if step < 400 else 0.3 + 0.2 * np.log(step / 400)

    found = warnings(run(learned, loss=rising))
    assert [(warning.kind, warning.severity) for warning in found] == [("overconfident", 1)]
    assert "while accuracy stands: the model grows overconfident." in found[0].reasons[0]


def test_an_accuracy_that_falls_after_overconfidence_is_warned_of_anew():
    def rising(step):
        return 0.3 if step < 100 else 0.3 + 0.2 * np.log(step / 100)

    found = warnings(run(falling(500, by=0.2), loss=rising, blocks=8))
    assert [warning.severity for warning in found] == [1, 2]
    assert found[1].kind == "accuracy"


def test_tasks_that_have_a_loss_only_are_warned_of_by_it():
    def losses_only(records):
        for record in records:
            record["held_out"] |= {"accuracy": None, "correct": None, "predicted": None}
            yield record

    def rising(step):
        return 0.3 + np.exp(-step / 25) + 0.2 * max(0.0, np.log(max(step, 1) / 400))

    [warning] = warnings(losses_only(run(learned, loss=rising, blocks=8)))
    assert (warning.kind, warning.severity) == ("loss", 2)
    assert warning.reasons[0].startswith("Held-out loss is 0.")


def test_the_words_say_what_since_when_how_sure_and_what_folding_did():
    def folds(step):
        return 0.05 if step < 450 else 0.15

    found = warnings(run(falling(400, by=0.2), blocks=8, logged=by_hundred, folding=folds))
    warning = next(warning for warning in found if warning.kind == "accuracy")
    best = warning.best_step
    first, second, third = warning.reasons[0].split(". ")
    assert first.startswith("Held-out accuracy is ")
    assert f"points below its best at step {best} (" in first
    assert " (512 inputs, p " in first
    assert first.endswith("), while the training loss still falls: the model memorizes")
    assert second.startswith("Folding rose most in layers first and second (")
    assert third == f"The weights of step {best} were the best."


def test_a_training_loss_that_rises_too_is_no_memorizing():
    def up(step):
        return 0.1 if step < 400 else 0.1 + 0.2 * np.log(step / 400)

    found = warnings(run(falling(400, by=0.2), blocks=8, logged=up))
    assert "and the training loss has risen too" in found[-1].reasons[0]


def test_the_score_rises_before_the_flag_and_is_half_at_it():
    detector, scores = Detector(), []
    for record in run(falling(400, by=0.15), blocks=8):
        if detector.update(record) is not None:
            break
        scores.append(detector.score)
    assert math.isnan(scores[0])
    assert detector.score >= 0.5
    assert all(0 <= score <= 1 for score in scores[20:])
    assert max(scores[-6:]) > np.median(scores[100:150])


def test_the_best_step_is_that_of_the_best_score():
    detector = Detector()
    assert detector.best_step is None
    for record in run(falling(400, by=0.3), blocks=8):
        detector.update(record)
    assert 150 < detector.best_step < 450


def test_a_validation_loss_past_its_best_needs_no_held_out_inputs():
    def logged(loss, step):
        return {"step": step, "layers": [], "folding": [], "logged": {"val_loss": loss}}

    values = [1.0, 0.5, 0.4, 0.5, 0.5, 0.5]
    [warning] = warnings(logged(value, 10 * i) for i, value in enumerate(values))
    assert warning.kind == "validation"
    assert warning.best_step == 20
    assert warning.reasons[0].startswith(
        "The logged validation loss is 0.5, above its best of 0.4 at step 20"
    )
    assert warnings(logged(value, 10 * i) for i, value in enumerate([1.0, 0.5, 0.4, 0.43, 0.43, 0.43])) == []


def test_nan_activations_are_told_at_once_and_once():
    record = {"step": 5, "phi": 0.1, "layers": ["a", "b"], "folding": [0.1, 0.1], "nonfinite": [0, 3]}
    [warning] = warnings([record, record | {"step": 6}])
    assert (warning.kind, warning.severity) == ("broken", 2)
    assert warning.reasons == ("NaN or infinite pre-activations in layer b",)


def test_an_episode_ends_and_another_may_begin():
    def dips(step):
        away = 0.2 * any(start < step < 1.8 * start for start in (200, 800))
        return learned(step) - away

    found = warnings(run(dips, 280, blocks=32))
    accuracy = [warning for warning in found if warning.severity == 2]
    assert len(accuracy) == 2
    assert accuracy[0].step < 360 < 800 < accuracy[1].step


def test_other_inputs_begin_anew():
    detector, records = Detector(), list(run(falling(300, by=0.3), 150, blocks=8))
    for record in records:
        detector.update(record)
    fewer = {"inputs": 64, "measured": None, "correct": [1] * 64, "losses": [0.1] * 64, "predicted": [0] * 64}
    assert detector.update(records[-1] | {"held_out": fewer}) is None


@pytest.mark.parametrize(
    "held_out",
    [
        None,
        {},
        {"inputs": 512, "measured": [0, 1], "predicted": None, "losses": None, "correct": None},
        {"inputs": 4, "measured": None, "predicted": [[0], [1]], "losses": [math.nan] * 4, "correct": None},
        {"inputs": 0, "measured": []},
    ],
)
def test_records_that_tell_nothing_do_no_harm(held_out):
    detector = Detector()
    for step in range(5):
        assert detector.update({"step": step, "held_out": held_out}) is None


def test_a_saved_detector_goes_on_the_same_through_json():
    records = list(run(falling(400, by=0.15), 220, blocks=8, logged=by_hundred))
    one, other = Detector(), Detector()
    for record in records[:150]:
        one.update(record)
    other.load_state_dict(json.loads(json.dumps(one.state_dict())))
    for record in records[150:]:
        assert one.update(record) == other.update(record)
        assert one.score == other.score
    assert one.best_step == other.best_step
