"""How strongly the tests of a probe speak for a warning, and of which kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from foldmon.warning.contrast import Contrast
from foldmon.warning.finding import Finding

Tests = Mapping[str, Sequence[Contrast]]

SURE = 3.0
"""Standard errors at which a test passes: one in 740 looks by chance, and two in a row are asked for."""
ERROR_MARGIN, TURNED_MARGIN = 0.02, 0.03
"""Shares of the inputs by which the error, and what has turned, must have risen."""
LOSS_MARGIN, LOSS_FLOOR = 0.10, 0.02
"""A loss must have risen by 10% and 0.02."""
HINT, HINT_MARGIN = 1.0, 0.01
"""Standard errors and share by which the error must have risen beside what has turned."""


def findings(tests: Tests, loss: float | None) -> list[Finding]:
    """Every kind of warning that the paired tests could raise, with its strength.

    Args:
        tests: of "error", "loss" and "turned", as far as they are known, one for each length of now.
        loss: held-out loss now.
    """
    if "error" not in tests:
        found = [_loss("loss", 2, tests, loss)] if "loss" in tests else []
        return found + ([_turned(2, tests)] if "turned" in tests else [])
    fallen = _strongest("accuracy", 2, "error", tests, SURE, ERROR_MARGIN)
    hint = _strongest("accuracy", 1, "error", tests, HINT, HINT_MARGIN)
    overconfident = _loss("overconfident", 1, tests, loss)
    sooner = max(overconfident, _turned(1, tests), key=lambda one: one.strength)
    falls = hint.strength >= 1.0
    return [
        fallen,
        replace(sooner, kind="falling", strength=min(hint.strength, sooner.strength), hint=hint.contrast),
        replace(overconfident, strength=0.0) if falls else overconfident,
    ]


def _turned(severity: int, tests: Tests) -> Finding:
    return _strongest("turned", severity, "turned", tests, SURE, TURNED_MARGIN)


def _loss(kind: str, severity: int, tests: Tests, loss: float | None) -> Finding:
    contrasts = tests.get("loss", ())
    best = [abs((loss or 0.0) - test.rise) for test in contrasts]
    margins = [LOSS_MARGIN * value + LOSS_FLOOR for value in best]
    found = [
        _finding(kind, severity, "loss", test, SURE, margin)
        for test, margin in zip(contrasts, margins, strict=True)
    ]
    return max(found, key=lambda one: one.strength, default=Finding(kind, severity, 0.0))


def _strongest(kind: str, severity: int, quantity: str, tests: Tests, sure: float, margin: float) -> Finding:
    found = [_finding(kind, severity, quantity, test, sure, margin) for test in tests.get(quantity, ())]
    return max(found, key=lambda one: one.strength, default=Finding(kind, severity, 0.0))


def _finding(kind: str, severity: int, quantity: str, test: Contrast, sure: float, margin: float) -> Finding:
    strength = max(0.0, min(test.z / sure, test.rise / margin))
    return Finding(kind, severity, strength, test, quantity)
