"""A warning, and what is found on the way to one."""

from __future__ import annotations

from dataclasses import dataclass, field

from foldmon.warning.contrast import Contrast


@dataclass(frozen=True)
class FoldingWarning:
    """The model seems to generalize worse than it did.

    Attributes:
        step: training step of the probe that raised the warning.
        severity: 1 something went wrong, 2 strongly so: time to stop, or the model puts out NaN.
        reasons: in words. The first is for people who train: what happened, since when, how sure that is,
            and what folding did.
        kind: "accuracy", "loss", "overconfident" (the loss rose and the accuracy stands), "turned" (against
            what the model held for long), "validation" (the loss that the user logs) or "broken" (NaN).
        best_step: the step at which what got worse was best, None where none is known.
    """

    step: int
    severity: int
    reasons: tuple[str, ...]
    kind: str = "accuracy"
    best_step: int | None = None

    def __str__(self) -> str:
        return f"step {self.step}, severity {self.severity}: " + "; ".join(self.reasons)


@dataclass(frozen=True)
class Finding:
    """What one test says at one probe.

    Attributes:
        kind: of the warning that it would raise.
        severity: likewise.
        strength: how near the test is to its mark, 1 at the mark and 0 where nothing points there.
        contrast: the paired test behind it, if it is one.
        quantity: what the contrast is of.
        witness: the test of the loss, where it is what makes the contrast sure.
    """

    kind: str
    severity: int
    strength: float
    contrast: Contrast | None = field(default=None, compare=False)
    quantity: str = ""
    witness: Contrast | None = field(default=None, compare=False)
