"""A warning in words, for people who train."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from foldmon.journal.schema import Record
from foldmon.warning.contrast import Contrast
from foldmon.warning.finding import Finding
from foldmon.warning.logged import Trend, ValidationLoss

_MOST = 3
_LEARNS = {
    "falls": ", while the training loss still falls: the model memorizes",
    "stands": ", while the training loss stands still",
    "rises": ", and the training loss has risen too: training is unstable, or its data have changed",
}


def sentence(finding: Finding, held_out: Mapping[str, Any], best_step: int, trend: Trend | None) -> str:
    """What happened, since when and how sure that is.

    Args:
        finding: of a paired test.
        held_out: of the record.
        best_step: at which its quantity was lowest.
        trend: of the training loss since, None where it is not known.

    Example:
        >>> from foldmon.warning.contrast import Contrast
        >>> found = Finding("accuracy", 2, 1.5, Contrast(0.084, 4.2, 512), "error")
        >>> sentence(found, {"accuracy": 0.851}, 640, None)
        'Held-out accuracy is 85.1%, 8.4 points below its best at step 640 (512 inputs, p < 0.001).'
        >>> found = Finding("accuracy", 2, 1.5, Contrast(0.024, 1.4, 512), "error", Contrast(0.3, 2.9, 512))
        >>> sentence(found, {"accuracy": 0.851}, 640, None).partition(" (")[2]
        '512 inputs, p = 0.081; of the loss, which has risen too, p = 0.0019).'
    """
    test = finding.contrast
    if test is None:
        raise ValueError("only paired tests are told so")
    learns = "" if trend is None else _LEARNS[trend]
    if finding.kind == "overconfident":
        return f"{_loss(test, held_out, best_step)}, while accuracy stands: the model grows overconfident."
    if finding.quantity == "error":
        return f"{_accuracy(test, held_out, best_step, finding.witness)}{learns}."
    tell = {"loss": _loss, "turned": _turned}[finding.quantity]
    return f"{tell(test, held_out, best_step)}{learns}."


def advice(finding: Finding, best_step: int) -> str:
    """Which weights were the best, or may have been."""
    if finding.kind == "overconfident":
        return f"Its probabilities were best at step {best_step}."
    known = finding.kind in ("accuracy", "loss")
    return f"The weights of step {best_step} {'were' if known else 'may have been'} the best."


def validation(loss: ValidationLoss) -> str:
    """Of the validation loss that the user logs."""
    return (
        f"The logged validation loss is {loss.now:.3g}, above its best of {loss.best:.3g} at step "
        f"{loss.best_step} for three values in a row."
    )


def broken(record: Record) -> str:
    """Where pre-activations are NaN or infinite; empty where they are not."""
    counts = zip(record.get("layers", ()), record.get("nonfinite", ()), strict=False)
    names = [name for name, count in counts if count > 0]
    if not names:
        return ""
    shown = ", ".join(names[:_MOST]) + (f" and {len(names) - _MOST} more" if len(names) > _MOST else "")
    return f"NaN or infinite pre-activations in layer{'s' * (len(names) > 1)} {shown}"


def _accuracy(test: Contrast, held_out: Mapping[str, Any], best_step: int, loss: Contrast | None) -> str:
    now = held_out.get("accuracy")
    is_now = "has fallen:" if now is None else f"is {now:.1%},"
    sure = _sure(test) + (f"; of the loss, which has risen too, p {_chance(loss)}" if loss else "")
    return f"Held-out accuracy {is_now} {_points(test)} below its best at step {best_step} ({sure})"


def _loss(test: Contrast, held_out: Mapping[str, Any], best_step: int) -> str:
    now = held_out.get("loss")
    is_now = "has risen:" if now is None else f"is {now:.3g},"
    return f"Held-out loss {is_now} {test.rise:.2g} above its best at step {best_step} ({_sure(test)})"


def _turned(test: Contrast, held_out: Mapping[str, Any], best_step: int) -> str:
    return (
        f"Held-out predictions turn against what the model held for long: {_points(test)} more of them "
        f"than at step {best_step} ({_sure(test)})"
    )


def _points(test: Contrast) -> str:
    return f"{100 * test.rise:.1f} points"


def _sure(test: Contrast) -> str:
    return f"{test.inputs} inputs, p {_chance(test)}"


def _chance(test: Contrast) -> str:
    return "< 0.001" if test.chance < 0.001 else f"= {test.chance:.2g}"
