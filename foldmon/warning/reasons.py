"""Why a warning was raised, in words."""

from __future__ import annotations

import numpy as np

from foldmon.warning.history import History
from foldmon.warning.readings import LAYER, Record
from foldmon.warning.rule import Rule, Term
from foldmon.warning.signals import running_means, since_early

_WORDS = {
    "phi": "log of the mean folding",
    "tail": "log of the folding of the most folded paths",
    "crossings": "log of the region crossings a path",
    "reach": "log of the largest distance from the start of a path",
    "profile": "growth of folding with depth",
    "order": "share of layers at which folding grows",
    "last_layer": "log of the last layer's folding",
    "within_between": "log ratio of crossings within a predicted class and between two",
    "changes": "class changes a held-out path beyond the needed one",
    "elsewhere": "share of a held-out path in a third class",
    "classes": "entropy of the predicted classes (nats)",
    "unsure": "share of unsure held-out predictions",
    "doubt": "log of the entropy of held-out predictions (nats)",
    "churn": "share of held-out predictions that changed since the last probe",
    "turned": "share of held-out predictions against what was predicted for long",
    "turned_surely": "share of held-out predictions surely against what was predicted for long",
    "split": "share of earlier predictions that disagreed",
    "surprise": "cost of what was predicted for long under the present predictions (nats)",
    "dead": "share of dead units",
    "saturated": "share of saturated units",
    "loss": "log of the training loss",
    "doubt_over_loss": "log ratio of the doubt on held-out inputs to the training loss",
}
_MOST = 3


def reasons(rule: Rule, history: History) -> tuple[str, ...]:
    """The signals with the largest parts of the score, and the layers that moved most."""
    parts = sorted(((term.part(history), place) for place, term in enumerate(rule.terms)), reverse=True)
    chosen: dict[str, Term] = {}
    for part, place in parts:
        if part > 0 and len(chosen) < _MOST:
            chosen.setdefault(rule.terms[place].reading, rule.terms[place])
    return tuple(_told(term, history) for term in chosen.values()) + _layers(history)


def broken_layers(record: Record) -> tuple[str, ...]:
    """A reason where pre-activations are NaN or infinite, else nothing."""
    counts = zip(record.get("layers", ()), record.get("nonfinite", ()), strict=False)
    names = [name for name, count in counts if count > 0]
    if not names:
        return ()
    shown = ", ".join(names[:_MOST]) + (f" and {len(names) - _MOST} more" if len(names) > _MOST else "")
    return (f"NaN or infinite pre-activations in layer{'s' * (len(names) > 1)} {shown}",)


def _told(term: Term, history: History) -> str:
    """The reading now, and where it came from."""
    means = running_means(history[term.reading])
    falling = (term.weight < 0) != (term.shape == "fall")
    turn = int(means.argmax() if falling else means.argmin())
    step = history.steps[turn + len(history) - len(means)]
    if turn == len(means) - 1:
        return f"{_WORDS[term.reading]}: {means[-1]:.3g}"
    return f"{_WORDS[term.reading]}: from {means[turn]:.3g} at step {step} to {means[-1]:.3g}"


def _layers(history: History) -> tuple[str, ...]:
    """The layers whose folding moved most since the first third of the run."""
    moves = {name: since_early(history[LAYER + name]) for name in history.names(LAYER)}
    most = sorted(moves, key=lambda name: -abs(moves[name]))[:_MOST]
    told = [f"{name} (times {np.exp(moves[name]):.2g})" for name in most if moves[name]]
    return (f"folding changed most in layer {', '.join(told)}",) if told else ()
