"""What labelled validation data say: when a run degrades, and when early stopping would have stopped it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

LOSS_MARGIN, LOSS_FLOOR = 0.10, 0.02
ACCURACY_MARGIN = 0.02
SUSTAINED = 3
CLEAR_FACTOR, CLEAR_FLOOR = 1.3, 0.05


def loss_degradation(losses: Sequence[float]) -> int | None:
    """Probe at which the validation loss leaves its best for good, None where it never does.

    The loss is above its best so far by more than 10% and 0.02 nats, and stays above that mark at every
    later probe, of which there are at least two.
    """
    values = np.where(np.isfinite(losses), losses, np.inf)
    best = np.minimum.accumulate(values)
    return _left_for_good(values, best * (1 + LOSS_MARGIN) + LOSS_FLOOR)


def accuracy_degradation(accuracies: Sequence[float]) -> int | None:
    """Probe at which the validation accuracy falls two points below its best for good, or None.

    The best is of medians over five probes, since the best of single noisy values lies too high.
    """
    smooth = np.array([np.median(accuracies[max(0, i - 4) : i + 1]) for i in range(len(accuracies))])
    best = np.maximum.accumulate(smooth)
    return _left_for_good(-smooth, -best + ACCURACY_MARGIN)


def _left_for_good(values: np.ndarray, marks: np.ndarray) -> int | None:
    for start in range(len(values) - SUSTAINED + 1):
        if values[start] > marks[start] and (values[start:] > marks[start]).all():
            return start
    return None


def early_stop(losses: Sequence[float], patience: int) -> int | None:
    """Probe at which early stopping stops: ``patience`` probes in a row without a new best loss."""
    best, since = np.inf, 0
    for probe, loss in enumerate(losses):
        if loss < best:
            best, since = loss, 0
        else:
            since += 1
        if since >= patience:
            return probe
    return None


def column(run: dict[str, Any], name: str) -> list[float]:
    """One labelled quantity of a run, a value a probe."""
    return [entry[name] for entry in run["labelled"]]


@dataclass(frozen=True)
class Outcome:
    """What became of a run.

    Attributes:
        onset: probe at which the loss or the accuracy degrades, whichever comes first, or None.
        kind: "healthy" without an onset; "clear" where the accuracy degrades or the loss ends above 1.3
            times its best and 0.05 nats; else "slight".
        stops: probe at which early stopping stops, by patience, or None.
    """

    onset: int | None
    kind: str
    stops: dict[int, int | None]


def outcome(run: dict[str, Any]) -> Outcome:
    """The outcome of a run of the store."""
    losses, accuracies = column(run, "loss"), column(run, "accuracy")
    by_loss, by_accuracy = loss_degradation(losses), accuracy_degradation(accuracies)
    onsets = [probe for probe in (by_loss, by_accuracy) if probe is not None]
    values = np.where(np.isfinite(losses), losses, np.inf)
    far = np.median(values[-5:]) > CLEAR_FACTOR * values.min() + CLEAR_FLOOR
    clear = by_accuracy is not None or (by_loss is not None and far)
    return Outcome(
        onset=min(onsets) if onsets else None,
        kind="clear" if clear else "slight" if onsets else "healthy",
        stops={patience: early_stop(losses, patience) for patience in (5, 10)},
    )
