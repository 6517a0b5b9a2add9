"""What labelled validation data say: when a run degrades, and when early stopping would have stopped it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

LOSS_MARGIN, LOSS_FLOOR = 0.10, 0.02
ACCURACY_MARGIN = 0.02
SUSTAINED = 3


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
