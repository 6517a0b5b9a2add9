"""How strongly the tests of a probe speak for a warning, and of which kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from foldmon.warning.contrast import Contrast
from foldmon.warning.finding import Finding

Tests = Mapping[str, Contrast]

SURE, TURNED_SURE = 2.4, 2.5
"""Standard errors at which a test passes, with labels and without: by chance one look in 120, and in 160."""
ERROR_MARGIN, TURNED_MARGIN = 0.02, 0.03
"""Shares of the inputs by which the error, and what has turned, must have risen."""
LOSS_MARGIN, LOSS_FLOOR = 0.10, 0.02
"""A loss must have risen by 10% and 0.02 where the accuracy is known, and by half of that where it is not."""
FALLS, FALLS_MARGIN = 1.0, 0.01
"""Standard errors and share above which the accuracy does not stand."""
WITNESS = 2.0
"""Standard errors by which the loss must have risen to its mark, where the error has by FALLS only."""


def findings(tests: Tests, loss: float | None) -> list[Finding]:
    """Every kind of warning that the paired tests could raise, with its strength.

    Args:
        tests: of "error", "loss" and "turned", as far as they are known.
        loss: held-out loss now.
    """
    error = tests.get("error")
    if error is not None:
        stands = error.z < FALLS or error.rise < FALLS_MARGIN
        overconfident = _loss("overconfident", 1, tests, loss, 1.0)
        return [
            _accuracy(error, tests.get("loss"), loss),
            overconfident if stands else replace(overconfident, strength=0.0),
        ]
    found = [_loss("loss", 2, tests, loss, 0.5)] if "loss" in tests else []
    if "turned" in tests:
        found.append(_finding("turned", 2, "turned", tests["turned"], TURNED_MARGIN, TURNED_SURE))
    return found


def _accuracy(error: Contrast, of_loss: Contrast | None, loss: float | None) -> Finding:
    """The error has risen for sure, or it seems to and the loss has, clearly, of the same inputs.

    A loss tells of each input how far it has moved, not only of those that change sides: it is sure sooner.
    """
    alone = _finding("accuracy", 2, "error", error, ERROR_MARGIN)
    if of_loss is None:
        return alone
    witness = _finding("accuracy", 2, "loss", of_loss, _mark(of_loss, loss), WITNESS).strength
    both = min(_finding("accuracy", 2, "error", error, ERROR_MARGIN, FALLS).strength, witness)
    return alone if both <= alone.strength else replace(alone, strength=both, witness=of_loss)


def _mark(test: Contrast, loss: float | None) -> float:
    """By how much a loss must have risen."""
    return LOSS_MARGIN * abs((loss or 0.0) - test.rise) + LOSS_FLOOR


def _loss(kind: str, severity: int, tests: Tests, loss: float | None, share: float) -> Finding:
    test = tests.get("loss")
    if test is None:
        return Finding(kind, severity, 0.0)
    return _finding(kind, severity, "loss", test, share * _mark(test, loss))


def _finding(
    kind: str, severity: int, quantity: str, test: Contrast, margin: float, sure: float = SURE
) -> Finding:
    return Finding(kind, severity, max(0.0, min(test.z / sure, test.rise / margin)), test, quantity)
