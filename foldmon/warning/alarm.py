"""The alarm: a detector, the warnings it has given, and whoever wants to be told."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from foldmon.journal.schema import Record, WarningEntry, WarningEvent
from foldmon.warning.detector import Detector, FoldingWarning

logger = logging.getLogger("foldmon")

OnWarning = Callable[[FoldingWarning], object]


class Alarm:
    """Shows probes to a detector where they are measured, and tells of warnings in the training thread.

    Args:
        on_warning: called with each warning, between two training steps, so that it may save a checkpoint
            or change a learning rate; None for no one.

    Attributes:
        warnings: all so far, oldest first.
        should_stop: whether a warning has reached severity 2.
    """

    def __init__(self, on_warning: OnWarning | None = None) -> None:
        self.warnings: list[FoldingWarning] = []
        self.should_stop = False
        self._on_warning = on_warning
        self._untold: deque[FoldingWarning] = deque()
        self._detector = Detector()

    @property
    def level(self) -> int:
        """Of the warning in force, 0 for none."""
        return self._detector.level

    def look(self, record: Record) -> WarningEntry:
        """Show a probe to the detector.

        Args:
            record: of a probe, or as much of one as was measured and logged.

        Returns:
            The record's ``warning`` entry: the level in force, and the warning if one begins here.
        """
        try:
            warning = self._detector.update(record)
        except Exception:
            # The measurement is sound and must reach the journal, whatever the detector makes of it.
            logger.exception("foldmon: the warning could not be judged at step %s", record.get("step"))
            warning = None
        level = self._detector.level
        self.should_stop = self.should_stop or level == 2
        if warning is None:
            return {"level": level, "event": None}
        self.warnings.append(warning)
        self._untold.append(warning)
        logger.warning("foldmon: %s", warning)
        event: WarningEvent = {
            "step": warning.step,
            "severity": warning.severity,
            "reasons": list(warning.reasons),
        }
        return {"level": level, "event": event}

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
            "detector": self._detector.state_dict(),
            "should_stop": self.should_stop,
            "warnings": [[w.step, w.severity, list(w.reasons)] for w in self.warnings],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state; what was seen before it is forgotten."""
        self._untold.clear()
        self.warnings[:] = [
            FoldingWarning(s, level, tuple(reasons)) for s, level, reasons in state["warnings"]
        ]
        self._detector.load_state_dict(state["detector"])
        self.should_stop = bool(state["should_stop"])
