"""The early warning: probes in, a warning out where what the model has not seen gets worse."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from foldmon.journal.schema import Record
from foldmon.warning import words
from foldmon.warning.course import training_time
from foldmon.warning.finding import Finding, FoldingWarning
from foldmon.warning.followed import Followed
from foldmon.warning.judging import findings
from foldmon.warning.layers import LayerFolding
from foldmon.warning.logged import LoggedLoss, ValidationLoss

__all__ = ["Detector", "FoldingWarning"]

FIRST = 50
"""No paired test counts before this step: at the start everything moves."""
HELD = 0.04
"""How long the loss must have risen alone, in logarithms of the step, before that is overconfidence."""
RELEASED = 0.5
"""An episode ends where every test is below this share of its mark."""
NOW = 0.2
"""What counts as now for the training loss and the folding, at most half of the time since the best."""


class Detector:
    """Reads probe after probe and warns where the model gets worse than it was.

    The tests are paired: the same held-out inputs now and at the best time of the run, see
    :func:`foldmon.warning.contrast.rise`. With labels they are of the error, and of the loss; without, of
    what turned against what the model held for long. One that passes begins an episode; within it there is
    a new warning only where the severity rises. NaN or infinite pre-activations begin one at once.

    Attributes:
        level: 0 no warning in force, 1 or 2 the severity of the one that is.
        score: from 0 to 1, half of how strongly the strongest test speaks: a test's strength is the lesser
            of its standard errors and its rise, each over what it must reach, so that 0.5 is where it
            passes; NaN before there is anything to compare.
        tests: of each quantity at the last probe: rise, z and the number of inputs.

    Example:
        >>> from foldmon.warning.detector import Detector
        >>> detector = Detector()
        >>> record = {"step": 5, "phi": 0.1, "layers": ["act"], "nonfinite": [3]}
        >>> detector.update(record).reasons
        ('NaN or infinite pre-activations in layer act',)
        >>> detector.update(record | {"step": 6}), detector.level
        (None, 2)
    """

    def __init__(self) -> None:
        self._followed, self._layers = Followed(), LayerFolding()
        self._training, self._validation = LoggedLoss(), ValidationLoss()
        self._passing: dict[str, int] = {}
        self.tests: dict[str, dict[str, float]] = {}
        self.level = 0
        self.score = math.nan

    @property
    def best_step(self) -> int | None:
        """The step with the best held-out accuracy, or loss where there is none; None before it is known."""
        found = self._followed.lowest_step("error")
        return self._followed.lowest_step("loss") if found is None else found

    def update(self, record: Record) -> FoldingWarning | None:
        """Take in a probe.

        Args:
            record: a probe line of the journal. Fields that are missing are left out of account.

        Returns:
            The warning if one begins here, or grows severe.
        """
        step, logged = int(record.get("step") or 0), record.get("logged") or {}
        held_out = record.get("held_out") or {}
        self._layers.add(step, record)
        self._training.add(step, logged.get("loss"))
        self._validation.add(step, logged.get("val_loss"))
        found = self._findings(step, record, held_out)
        passed = [one for one in found if self._passes(one, step)]
        before, broken = self.level, words.broken(record)
        self.level = self._new_level(found, passed, bool(broken))
        if self.level <= before:
            return None
        if broken:
            return FoldingWarning(step, 2, (broken,), "broken")
        return self._warning(step, max(passed, key=lambda one: (one.severity, one.strength)), held_out)

    def _findings(self, step: int, record: Record, held_out: Mapping[str, Any]) -> list[Finding]:
        found = [Finding("validation", 1, self._validation.strength)]
        classes = int((record.get("decision") or {}).get("of") or 0)
        judged = self._followed.add(step, held_out, classes)
        tests = self._followed.tests(learned=self._learned) if judged else {}
        self.tests = {
            name: {"rise": test.rise, "z": test.z, "inputs": test.inputs} for name, test in tests.items()
        }
        found += findings(tests, held_out.get("loss"))
        if tests or self._validation.strength:
            self.score = min(1.0, max(one.strength for one in found) / 2)
        return found

    @property
    def _learned(self) -> bool:
        return bool(self._training.learned)

    def _passes(self, finding: Finding, step: int) -> bool:
        """Whether a test passes, and has for long enough where one look does not prove it."""
        if finding.contrast is None:
            return finding.strength >= 1.0
        if finding.strength < 1.0 or step < FIRST:
            self._passing.pop(finding.kind, None)
            return False
        since = self._passing.setdefault(finding.kind, step)
        return finding.kind != "overconfident" or bool(training_time(step) - training_time(since) >= HELD)

    def _new_level(self, found: list[Finding], passed: list[Finding], broken: bool) -> int:
        if broken:
            return 2
        if passed:
            return max(self.level, *(one.severity for one in passed))
        return self.level if max(one.strength for one in found) >= RELEASED else 0

    def _warning(self, step: int, finding: Finding, held_out: Mapping[str, Any]) -> FoldingWarning:
        if finding.kind == "validation":
            best, said = self._validation.best_step, words.validation(self._validation)
        else:
            lowest = self._followed.lowest_step(finding.quantity, learned=self._learned)
            best = step if lowest is None else lowest
            said = words.sentence(finding, held_out, best, self._training.since(best, _now(best, step)))
        parts = (said, self._layers.sentence(best, _now(best, step)), words.advice(finding, best))
        reason = " ".join(part for part in parts if part)
        return FoldingWarning(step, finding.severity, (reason,), finding.kind, best)

    def state_dict(self) -> dict[str, Any]:
        """The whole state, as plain values."""
        return {
            "followed": self._followed.state_dict(),
            "layers": self._layers.state_dict(),
            "training": self._training.state_dict(),
            "validation": self._validation.state_dict(),
            "passing": dict(self._passing),
            "level": self.level,
            "score": self.score,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state."""
        self._followed.load_state_dict(state["followed"])
        self._layers.load_state_dict(state["layers"])
        self._training.load_state_dict(state["training"])
        self._validation.load_state_dict(state["validation"])
        self._passing = {kind: int(step) for kind, step in state["passing"].items()}
        self.level, self.score = int(state["level"]), float(state["score"])


def _now(best: int, step: int) -> float:
    return min(NOW, max(1e-9, float(training_time(step) - training_time(best)) / 2))
