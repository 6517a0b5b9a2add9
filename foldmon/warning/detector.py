"""The early warning: probes in, at most one warning an episode out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from foldmon.folding.results.statistics import Floats
from foldmon.journal.schema import Record
from foldmon.warning.consensus import Consensus
from foldmon.warning.forest import Forest, tuned
from foldmon.warning.history import History
from foldmon.warning.readings import read
from foldmon.warning.reasons import broken_layers, reasons
from foldmon.warning.signals import signals

WARM_UP = 8
"""Blocks before the first judgement: at the start everything moves."""
HOLD = 3
"""Blocks in a row that start, raise or end an episode."""
MARGIN, FLOOR = 0.10, 0.02
"""A logged validation loss is past its best when above it by 10% and 0.02."""


@dataclass(frozen=True)
class FoldingWarning:
    """The model seems to generalize worse than it did.

    Attributes:
        step: training step of the probe that raised the warning.
        severity: 1 likely, 2 strongly so, or the model puts out NaN or infinite values.
        reasons: in words: which signals, since which step, in which layers.
    """

    step: int
    severity: int
    reasons: tuple[str, ...]

    def __str__(self) -> str:
        return f"step {self.step}, severity {self.severity}: " + "; ".join(self.reasons)


class Detector:
    """Reads probe after probe and warns once an episode.

    An episode starts when the score stays above the forest's mark for three blocks of probes, and ends when
    it stays below a lower one; until then nothing more is said, while :attr:`level` follows the severity.
    The score needs predicted classes; it uses a training loss logged as ``loss`` where there is one.
    Non-finite activations start an episode at once, and so does a validation loss logged as ``val_loss``
    that passed its best; both need no classes.

    Args:
        forests: "with loss" and "without loss"; None takes the tuned ones.

    Attributes:
        level: 0 no warning in force, 1 or 2 the severity of the one that is.
        score: how alike the run is to those that degraded, from 0 to 1, at the last judged block; NaN
            before, and where the model predicts no classes.

    Example:
        >>> from foldmon.warning.detector import Detector
        >>> detector = Detector()
        >>> record = {"step": 5, "phi": 0.1, "layers": ["act"], "nonfinite": [3]}
        >>> detector.update(record).reasons
        ('NaN or infinite pre-activations in layer act',)
        >>> detector.update(record | {"step": 6}), detector.level
        (None, 2)
    """

    def __init__(self, forests: Mapping[str, Forest] | None = None) -> None:
        self._forests = tuned() if forests is None else forests
        self._history, self._consensus = History(), Consensus()
        self._scores: list[float] = []
        self.level = 0
        self.score = math.nan

    def update(self, record: Record) -> FoldingWarning | None:
        """Take in a probe.

        Args:
            record: a probe line of the journal. Fields that are missing or NaN are left out of account.

        Returns:
            The warning if this probe starts an episode.
        """
        step = int(record.get("step") or 0)
        broken = broken_layers(record)
        judged = self._history.add(step, read(record) | self._consensus.read(record))
        if judged and len(self._history) > WARM_UP:
            if self._history.knows("doubt"):
                self.score = self._forest.score(self._signals())
            self._scores = [*self._scores, self.score][-HOLD:]
        before = self.level
        self.level = 2 if broken else self._judged_level(judged)
        if before or not self.level:
            return None
        return FoldingWarning(step, self.level, broken or self._reasons())

    @property
    def _forest(self) -> Forest:
        return self._forests["with loss" if self._history.knows("loss") else "without loss"]

    def _signals(self) -> Floats:
        courses = np.stack([self._history[name] for name in self._forest.readings], axis=1)
        return signals(courses).reshape(-1)

    def _judged_level(self, judged: bool) -> int:
        if not judged or len(self._scores) < HOLD:
            return self.level
        forest, low, high = self._forest, min(self._scores), max(self._scores)
        if low > forest.severe:
            return 2
        if low > forest.warn or self._past_best().all():
            return max(self.level, 1)
        return self.level if high >= forest.release or self._past_best(0.5).any() else 0

    def _past_best(self, share: float = 1.0) -> npt.NDArray[np.bool_]:
        """In which of late blocks the logged validation loss is past its best, by a share of the margin."""
        losses = self._history["val_loss"]
        known = self._history.knows("val_loss")
        past: npt.NDArray[np.bool_] = losses[-HOLD:] > losses.min() * (1 + share * MARGIN) + share * FLOOR
        return past & known

    def _reasons(self) -> tuple[str, ...]:
        known = self._history.knows("doubt")
        found = reasons(self._forest.parts(self._signals()), self._history) if known else ()
        if self._past_best().all():
            best = int(np.argmin(self._history["val_loss"]))
            found = (
                f"the logged validation loss is past its best of step {self._history.steps[best]}",
                *found,
            )
        return found

    def state_dict(self) -> dict[str, Any]:
        """The whole state, as plain JSON values."""
        return {
            "history": self._history.state_dict(),
            "consensus": self._consensus.state_dict(),
            "scores": list(self._scores),
            "level": self.level,
            "score": self.score,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state."""
        self._history.load_state_dict(state["history"])
        self._consensus.load_state_dict(state["consensus"])
        self._scores = [float(score) for score in state["scores"]]
        self.level, self.score = int(state["level"]), float(state["score"])
