"""The alarm: a detector, the warnings it has given, and whoever wants to be told."""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from foldmon.journal.schema import Record, WarningEntry, WarningEvent
from foldmon.warning.detector import Detector
from foldmon.warning.finding import FoldingWarning

logger = logging.getLogger("foldmon")

OnWarning = Callable[[FoldingWarning], object]

_VERSION = 2  # of the state: 1 was that of a forest over readings


class Alarm:
    """Shows probes to a detector where they are measured, and tells of warnings in the training thread.

    Args:
        on_warning: called with each warning, between two training steps, so that it may save a checkpoint
            or change a learning rate; None for no one.

    Attributes:
        warnings: all so far, oldest first.
        should_stop: whether a warning has reached severity 2.
        best_step: the step with the best held-out score so far, None before it is known.
    """

    def __init__(self, on_warning: OnWarning | None = None) -> None:
        self.warnings: list[FoldingWarning] = []
        self.should_stop = False
        self.best_step: int | None = None
        self._on_warning = on_warning
        self._untold: deque[FoldingWarning] = deque()
        self._detector = Detector()

    def look(self, record: Record) -> WarningEntry:
        """Show a probe to the detector.

        Args:
            record: of a probe, or as much of one as was measured and logged.

        Returns:
            The record's ``warning`` entry: the level in force, the warning if one begins here, and the
            numbers behind both.
        """
        detector = self._detector
        try:
            warning = detector.update(record)
            self.best_step = detector.best_step
        except Exception:
            # The measurement is sound and must reach the journal, whatever the detector makes of it.
            logger.exception("foldmon: the warning could not be judged at step %s", record.get("step"))
            warning = None
        self.should_stop = self.should_stop or detector.level == 2
        if warning is not None:
            self.warnings.append(warning)
            self._untold.append(warning)
            logger.warning("foldmon: %s", warning)
        return {
            "level": detector.level,
            "event": None if warning is None else _event(warning),
            "score": None if math.isnan(detector.score) else detector.score,
            "best_step": self.best_step,
            "tests": detector.tests,
        }

    def tell(self) -> None:
        """Hand new warnings to the callback; its errors are logged."""
        while self._untold:
            warning = self._untold.popleft()
            if self._on_warning is not None:
                try:
                    self._on_warning(warning)
                except Exception:
                    logger.exception("foldmon: on_warning failed; training goes on")

    def state_dict(self) -> dict[str, Any]:
        """The detector's state and the warnings so far, as plain values."""
        return {
            "version": _VERSION,
            "detector": self._detector.state_dict(),
            "should_stop": self.should_stop,
            "warnings": [{**asdict(warning), "reasons": list(warning.reasons)} for warning in self.warnings],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state; what was seen before it is forgotten.

        A state that another version of foldmon saved is not understood: the warning starts anew, and says so.
        """
        self._untold.clear()
        self.warnings[:] = []
        self.should_stop, self.best_step, self._detector = False, None, Detector()
        if state.get("version") != _VERSION:
            logger.warning(
                "foldmon: the saved state of the warning is of another version of foldmon; it starts anew"
            )
            return
        self._detector.load_state_dict(state["detector"])
        self.best_step = self._detector.best_step
        self.should_stop = bool(state["should_stop"])
        self.warnings += [FoldingWarning(**{**w, "reasons": tuple(w["reasons"])}) for w in state["warnings"]]


def _event(warning: FoldingWarning) -> WarningEvent:
    return {
        "step": warning.step,
        "severity": warning.severity,
        "reasons": list(warning.reasons),
        "kind": warning.kind,
        "best_step": warning.best_step,
    }
