"""foldmon's own detector, shown the journal of a stored run as it would have seen it live."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from foldmon.warning.detector import Detector

Record = dict[str, Any]
_TOLD_BY_LABELS = ("loss", "losses", "correct", "accuracy", "loss_interval", "accuracy_interval")


@dataclass(frozen=True)
class Verdict:
    """What a detector said of a run.

    Attributes:
        warned: step of its first warning that the model gets worse, None for none.
        best: step whose weights it says to go back to then, None where it names none.
        unsure: step of its first warning that the loss alone rises, which claims no loss of accuracy.
    """

    warned: int | None
    best: int | None = None
    unsure: int | None = None


def judged(run: Record, shown: Callable[[Record], Record] = dict) -> Verdict:
    """Show a detector the probes one by one.

    Args:
        run: of the store. Where its loss is what counts ("loss_only"), so is every warning of the loss.
        shown: what it gets to see of each record.
    """
    detector = Detector()
    unsure: int | None = None
    for record in run["records"]:
        warning = detector.update(shown(record))
        if warning is None:
            continue
        if run["loss_only"] or getattr(warning, "kind", "") != "overconfident":
            best = getattr(warning, "best_step", getattr(detector, "best_step", None))
            return Verdict(warning.step, best, unsure)
        unsure = warning.step if unsure is None else unsure
    return Verdict(None, unsure=unsure)


def without_labels(record: Record) -> Record:
    """A record as it is where the held-out data hold no labels."""
    held_out = dict(record.get("held_out") or {})
    unknown: Record = dict.fromkeys(_TOLD_BY_LABELS, None)
    return {**record, "held_out": {**held_out, **unknown}, "classes": None, "class_matrix": None}


def without_logs(record: Record) -> Record:
    """A record as it is where nothing is logged."""
    return {**record, "logged": {}}


def with_neither(record: Record) -> Record:
    """A record without labels and logs."""
    return without_logs(without_labels(record))


SHOWN: dict[str, Callable[[Record], Record]] = {
    "foldmon, labels and training loss": dict,
    "foldmon, labels": without_logs,
    "foldmon, no labels, training loss": without_labels,
    "foldmon, no labels": with_neither,
}
"""foldmon at its defaults, by what it is given."""
