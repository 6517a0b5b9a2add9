"""From paired tests to kinds of warning."""

from __future__ import annotations

import pytest

from foldmon.warning.contrast import Contrast
from foldmon.warning.judging import findings


def strengths(level: float | None = None, /, **tests: Contrast) -> dict[str, float]:
    return {found.kind: found.strength for found in findings(tests, level)}


@pytest.mark.parametrize(
    ("rise", "z", "stands"),
    [(0.0, 0.0, True), (0.03, 0.9, True), (0.005, 2.0, True), (0.015, 1.1, False), (0.1, 5.0, False)],
)
def test_overconfidence_is_told_only_while_accuracy_stands(rise, z, stands):
    """Neither a fall within one standard error nor one of less than a point is a fall."""
    found = strengths(1.0, error=Contrast(rise, z, 512), loss=Contrast(0.5, 5.0, 512))
    assert (found["overconfident"] >= 1.0) == stands


@pytest.mark.parametrize(("rise", "z", "warned"), [(0.02, 2.4, True), (0.019, 9.0, False), (0.5, 2.3, False)])
def test_a_fall_of_accuracy_needs_two_points_and_to_be_more_than_chance(rise, z, warned):
    assert (strengths(error=Contrast(rise, z, 512))["accuracy"] >= 1.0) == warned


@pytest.mark.parametrize(
    ("rise", "z", "risen", "sure", "warned"),
    [
        (0.02, 1.0, 0.121, 2.0, True),
        (0.019, 1.0, 0.12, 2.0, False),  # less than two points
        (0.02, 0.9, 0.12, 2.0, False),  # within one standard error
        (0.02, 1.0, 0.119, 2.0, False),  # less than a tenth and two hundredths of the loss
        (0.02, 1.0, 0.12, 1.9, False),  # which may be chance
    ],
)
def test_a_loss_that_has_clearly_risen_makes_a_fall_of_accuracy_sure(rise, z, risen, sure, warned):
    tests = {"error": Contrast(rise, z, 512), "loss": Contrast(risen, sure, 512)}
    [found] = (one for one in findings(tests, 1.0 + risen) if one.kind == "accuracy")
    assert (found.strength >= 1.0) == warned
    assert found.witness == tests["loss"]


def test_a_fall_that_is_sure_by_itself_needs_no_witness():
    tests = {"error": Contrast(0.1, 4.0, 512), "loss": Contrast(0.2, 2.1, 512)}
    assert findings(tests, 1.2)[0].witness is None


@pytest.mark.parametrize(("rise", "warned"), [(0.121, True), (0.119, False)])
def test_a_loss_beside_an_accuracy_must_rise_by_a_tenth_and_two_hundredths(rise, warned):
    """From 1.0 on, so that the mark lies at 0.12."""
    found = strengths(1.0 + rise, error=Contrast(0.0, 0.0, 512), loss=Contrast(rise, 5.0, 512))
    assert (found["overconfident"] >= 1.0) == warned


@pytest.mark.parametrize(("rise", "warned"), [(0.061, True), (0.059, False)])
def test_a_loss_alone_must_rise_by_half_of_that(rise, warned):
    assert (strengths(1.0 + rise, loss=Contrast(rise, 5.0, 512))["loss"] >= 1.0) == warned


@pytest.mark.parametrize(("rise", "z", "warned"), [(0.03, 2.5, True), (0.029, 9.0, False), (0.3, 2.4, False)])
def test_without_labels_what_turns_must_be_three_points_and_surer(rise, z, warned):
    assert (strengths(turned=Contrast(rise, z, 512))["turned"] >= 1.0) == warned
