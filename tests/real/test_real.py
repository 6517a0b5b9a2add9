"""A fifth of the trainings, whose packages the tests need anyway: the line works and changes nothing."""

from __future__ import annotations

import pytest

from tests.real import trainings  # noqa: F401 (registers them)
from tests.real.__main__ import compared
from tests.real.training import TRAININGS

EVERY_TIME = ("digits CNN, schedule, epochs",)
MORE = (
    "GPT that returns (logits, loss)",
    "LSTM tagger: nothing to measure",
    "Lightning",
    "HF Trainer, BERT classifier",
    "Accelerate, accumulation",
)


def test_there_are_many() -> None:
    assert {*EVERY_TIME, *MORE} < set(TRAININGS)
    assert len(TRAININGS) >= 25


@pytest.mark.parametrize(
    "name", [*EVERY_TIME, *(pytest.param(name, marks=pytest.mark.slow) for name in MORE)]
)
def test_the_line_works_and_changes_nothing(name: str) -> None:
    row = compared(name, timeout=240)
    assert row["works"], row
