"""Why a warning was raised, in words."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from foldmon.journal.schema import Record
from foldmon.warning.forest import Key
from foldmon.warning.history import History
from foldmon.warning.readings import LAYER
from foldmon.warning.signals import running_means, since_early

_WORDS = {
    "phi": "log of the mean folding",
    "crossings": "log of the region crossings a path",
    "changes": "class changes a held-out path beyond the needed one",
    "elsewhere": "share of a held-out path in a third class",
    "classes": "entropy of the predicted classes (nats)",
    "unsure": "share of unsure held-out predictions",
    "doubt": "log of the entropy of held-out predictions (nats)",
    "entropy": "entropy of held-out predictions (nats)",
    "margin": "log of the median log odds of held-out predictions",
    "low_margins": "share of held-out predictions much less sure than most",
    "margin_5": "log odds of the 5% least sure held-out predictions, over the median",
    "margin_10": "log odds of the 10% least sure held-out predictions, over the median",
    "margin_25": "log odds of the 25% least sure held-out predictions, over the median",
    "churn": "share of held-out predictions that changed since the last probe",
    "churn_cost": "divergence of held-out predictions from the last probe's (nats)",
    "turned": "share of held-out predictions against what was predicted for long",
    "turned_margin": "log odds of held-out predictions against what was predicted for long",
    "split": "share of earlier predictions that disagreed",
    "consensus_doubt": "entropy of what was predicted for long (nats)",
    "consensus_gap": "entropy of what was predicted for long less that of the predictions (nats)",
    "surprise": "cost of the class predicted for long under the present predictions (nats)",
    "surprise_soft": "cost of what was predicted for long under the present predictions (nats)",
    "divergence": "divergence of what was predicted for long from the present predictions (nats)",
    "loss": "log of the training loss",
    "loss_itself": "training loss",
    "doubt_less_loss": "entropy of held-out predictions less the training loss (nats)",
    "doubt_over_loss": "log ratio of the doubt on held-out inputs to the training loss",
}
_MOST = 3


def reasons(parts: Mapping[Key, float], history: History) -> tuple[str, ...]:
    """The readings that add most to the score, and the layers that moved most.

    Args:
        parts: what each signal adds.
        history: the run.
    """
    by_reading: dict[str, float] = {}
    for (reading, _), part in parts.items():
        by_reading[reading] = by_reading.get(reading, 0.0) + part
    most = sorted(by_reading, key=lambda reading: -by_reading[reading])[:_MOST]
    return tuple(_told(name, history) for name in most if by_reading[name] > 0) + _layers(history)


def broken_layers(record: Record) -> tuple[str, ...]:
    """A reason where pre-activations are NaN or infinite, else nothing."""
    counts = zip(record.get("layers", ()), record.get("nonfinite", ()), strict=False)
    names = [name for name, count in counts if count > 0]
    if not names:
        return ()
    shown = ", ".join(names[:_MOST]) + (f" and {len(names) - _MOST} more" if len(names) > _MOST else "")
    return (f"NaN or infinite pre-activations in layer{'s' * (len(names) > 1)} {shown}",)


def _told(reading: str, history: History) -> str:
    """The reading now, and the farthest it was from that."""
    means = running_means(history[reading])
    turn = int(np.abs(means - means[-1]).argmax())
    step = history.steps[turn + len(history) - len(means)]
    if turn == len(means) - 1:
        return f"{_WORDS[reading]}: {means[-1]:.3g}"
    return f"{_WORDS[reading]}: from {means[turn]:.3g} at step {step} to {means[-1]:.3g}"


def _layers(history: History) -> tuple[str, ...]:
    """The layers whose folding moved most since the first third of the run."""
    moves = {name: float(since_early(history[LAYER + name])) for name in history.names(LAYER)}
    most = sorted(moves, key=lambda name: -abs(moves[name]))[:_MOST]
    told = [f"{name} (times {np.exp(moves[name]):.2g})" for name in most if moves[name]]
    return (f"folding changed most in layer {', '.join(told)}",) if told else ()
