"""When an episode begins, how severe it is, and when it ends: from findings that are given."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from foldmon.warning.contrast import Contrast
from foldmon.warning.detector import FIRST, Detector
from foldmon.warning.finding import Finding, FoldingWarning
from foldmon.warning.judging import findings
from foldmon.warning.logged import LoggedLoss, ValidationLoss
from tests.warning.courses import falling, run

TEST = Contrast(rise=0.1, z=3.0, inputs=512)


def finding(kind: str, severity: int, strength: float, contrast: Contrast | None = TEST) -> Finding:
    return Finding(kind, severity, strength, contrast, "error")


class Scripted(Detector):
    """A detector that is told what its tests find."""

    found: list[Finding]

    def _findings(self, *_: Any) -> list[Finding]:
        return self.found

    def _warning(self, step: int, finding: Finding, *_: Any) -> FoldingWarning:
        return FoldingWarning(step, finding.severity, ("said",), finding.kind)

    def see(self, step: int, *found: Finding, nonfinite: int = 0) -> FoldingWarning | None:
        self.found = list(found)
        return self.update({"step": step, "phi": 0.1, "layers": ["act"], "nonfinite": [nonfinite]})


def test_an_episode_begins_once_and_ends_below_half_of_the_mark():
    detector = Scripted()
    course = [(0.9, 0), (1.0, 2), (1.3, 2), (0.6, 2), (0.5, 2), (0.49, 0), (0.9, 0), (1.1, 2)]
    warned = []
    for step, (strength, level) in enumerate(course, start=100):
        warning = detector.see(step, finding("accuracy", 2, strength))
        assert detector.level == level, step
        warned += [] if warning is None else [warning.step]
    assert warned == [101, 107]


def test_within_an_episode_the_level_only_rises_and_a_rise_is_a_warning():
    detector = Scripted()
    assert detector.see(100, finding("loss", 1, 1.2)).severity == 1
    assert detector.see(101, finding("loss", 1, 1.5)) is None
    assert detector.see(102, finding("loss", 1, 1.2), finding("accuracy", 2, 1.0)).severity == 2
    assert detector.see(103, finding("loss", 1, 1.2), finding("accuracy", 2, 0.2)) is None
    assert detector.level == 2


def test_the_most_severe_finding_is_told_and_of_these_the_strongest():
    mild, strong, weak = finding("loss", 1, 9.0), finding("turned", 2, 1.5), finding("accuracy", 2, 1.1)
    assert Scripted().see(100, mild, weak, strong).kind == "turned"
    assert Scripted().see(100, mild, weak).kind == "accuracy"


def test_no_paired_test_counts_in_the_first_steps_but_what_the_user_logs_does():
    detector = Scripted()
    assert detector.see(FIRST - 1, finding("accuracy", 2, 5.0)) is None
    assert detector.level == 0
    assert detector.see(FIRST, finding("accuracy", 2, 5.0)).step == FIRST
    assert Scripted().see(3, finding("validation", 1, 1.0, contrast=None)).kind == "validation"


def test_overconfidence_must_hold_without_a_break():
    detector = Scripted()
    assert detector.see(100, finding("overconfident", 1, 1.2)) is None
    assert detector.see(101, finding("overconfident", 1, 0.9)) is None
    assert detector.see(102, finding("overconfident", 1, 1.2)) is None
    # The logarithm of 127 and of 132.2 are apart by 0.04.
    assert detector.see(107, finding("overconfident", 1, 1.2)) is None
    assert detector.see(108, finding("overconfident", 1, 1.2)).kind == "overconfident"


def test_nan_is_severe_at_once_and_ends_with_the_nan():
    detector = Scripted()
    warning = detector.see(1, finding("accuracy", 2, 0.0), nonfinite=3)
    assert (warning.severity, warning.kind, detector.level) == (2, "broken", 2)
    assert detector.see(2, finding("accuracy", 2, 0.0)) is None
    assert detector.level == 0


@pytest.mark.parametrize(
    ("lowest", "best"), [({"error": 40, "loss": 20}, 40), ({"loss": 20}, 20), ({"error": 0}, 0), ({}, None)]
)
def test_the_best_step_is_that_of_the_error_where_labels_tell_it(lowest, best, monkeypatch):
    detector = Detector()
    monkeypatch.setattr(detector._followed, "lowest_step", lowest.get)
    assert detector.best_step == best


def test_an_episode_goes_on_after_a_restart():
    first, second = Scripted(), Scripted()
    first.see(100, finding("overconfident", 1, 1.2), finding("accuracy", 2, 1.2))
    second.load_state_dict(first.state_dict())
    assert second.level == 2
    assert second.see(110, finding("accuracy", 2, 1.2)) is None
    third = Scripted()
    third.load_state_dict(first.state_dict())
    third.level = 0
    assert third.see(106, finding("overconfident", 1, 1.2)).kind == "overconfident", "it held since step 100"


def test_the_score_is_one_at_most_and_half_of_that_where_a_test_passes():
    detector, scores, passed = Detector(), [], []
    for record in run(falling(100, 0.7), probes=150, blocks=32):
        warning = detector.update(record)
        scores.append(detector.score)
        passed += [] if warning is None else [detector.score]
    assert max(score for score in scores if not math.isnan(score)) == 1.0
    assert 0.5 <= passed[0] < 1.0


def strengths(error: Contrast, loss: Contrast, now: float) -> dict[str, float]:
    return {one.kind: one.strength for one in findings({"error": error, "loss": loss}, now)}


@pytest.mark.parametrize(("z", "rise", "stands"), [(0.5, 0.5, True), (5.0, 0.005, True), (5.0, 0.05, False)])
def test_the_model_is_overconfident_where_the_loss_rises_and_the_accuracy_stands(z, rise, stands):
    found = findings({"error": Contrast(rise, z, 512), "loss": Contrast(0.5, 6.0, 512)}, 1.0)
    assert [(one.kind, one.severity) for one in found] == [("accuracy", 2), ("overconfident", 1)]
    assert (found[1].strength > 1.0) == stands
    assert (found[1].strength == 0.0) == (not stands)


def test_a_loss_near_zero_must_rise_by_more_than_a_share_of_itself():
    still = Contrast(0.0, 0.0, 512)
    assert strengths(still, Contrast(0.019, 9.0, 512), 0.02)["overconfident"] < 1.0
    assert strengths(still, Contrast(0.021, 9.0, 512), 0.021)["overconfident"] > 1.0
    assert strengths(still, Contrast(0.21, 9.0, 512), 2.21)["overconfident"] < 1.0


def test_without_labels_half_of_the_rise_is_enough_and_the_loss_is_severe():
    [alone] = findings({"loss": Contrast(0.15, 9.0, 512)}, 1.15)
    assert (alone.kind, alone.severity) == ("loss", 2)
    assert alone.strength > 1.0
    assert strengths(Contrast(0.0, 0.0, 512), Contrast(0.115, 9.0, 512), 1.115)["overconfident"] < 1.0


def test_a_users_validation_loss_counts_once_three_values_in_a_row_lie_above_its_best():
    logged = ValidationLoss()
    for step, value in ((10, 1.0), (20, 0.5), (30, 0.9), (40, 0.8)):
        logged.add(step, value)
    assert logged.strength == 0.0, "the best is one of the last three"
    logged.add(50, np.nan)
    logged.add(50, 0.9)
    assert logged.strength == pytest.approx((0.8 - 0.5) / (0.1 * 0.5 + 0.02))
    assert (logged.best, logged.best_step, logged.now) == (0.5, 20, 0.9)


def test_fewer_than_three_values_of_a_validation_loss_say_nothing():
    logged = ValidationLoss()
    logged.best, logged.best_step = 0.1, 5
    for step in (10, 20):
        logged.add(step, 9.0)
        assert logged.strength == 0.0
    logged.add(30, 9.0)
    assert logged.strength > 1.0


def test_a_training_loss_is_learned_where_the_mean_of_the_last_three_is_half_of_the_first():
    logged = LoggedLoss()
    assert logged.learned is None
    for step, value in enumerate((4.0, 3.0, 3.0, 1.0)):
        logged.add(step, value)
    assert not logged.learned, "one lucky batch"
    logged.add(4, 1.0)
    assert logged.learned
