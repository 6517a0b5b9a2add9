"""Rules that users have, each fed with all that it asks for: the step at which it says stop, or None."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tests.benchmarks.warnings.training import EQUAL

Rule = Callable[[dict[str, Any]], int | None]

_WINDOW = 3  # epochs over which the changes of predictions are averaged
_BY_TWO_POINTS = 0.02


def patience(epochs: int, *, by: str) -> Rule:
    """Early stopping: so many epochs without a new best loss or accuracy of the whole validation set."""

    def rule(run: dict[str, Any]) -> int | None:
        best, since = np.inf, 0
        for step, loss, accuracy, _ in run["epochs"]:
            value = loss if by == "loss" else -accuracy
            best, since = (value, 0) if value < best else (best, since + 1)
            if since >= epochs:
                return int(step)
        return None

    return rule


def label_wave(run: dict[str, Any]) -> int | None:
    """The first local minimum of the smoothed share of training predictions that change from epoch to epoch.

    Yuan, Feng and Liu, "Early Stopping Against Label Noise Without Validation Data" (arXiv 2502.07551).
    """
    epochs = run["epochs"][1:]  # before the first there were no predictions to change
    changed = [
        float(np.mean([e[3] for e in epochs[max(0, i - _WINDOW + 1) : i + 1]])) for i in range(len(epochs))
    ]
    for (step, *_), before, now in zip(
        epochs[_WINDOW:], changed[_WINDOW - 1 :], changed[_WINDOW:], strict=False
    ):
        if now > before:
            return int(step)
    return None


def evidence(run: dict[str, Any]) -> int | None:
    """The evidence-based criterion: gradients no larger than chance makes them.

    Mahsereci et al., "Early Stopping without a Validation Set" (arXiv 1703.09580).
    """
    return next((int(step) for step, value in run["evidence"] if value > 0), None)


def oracle(run: dict[str, Any]) -> int | None:
    """The first fall of the whole validation set by two points, or a loss seven percent above the lowest."""
    best, loss_only = -np.inf, run["loss_only"]
    first = (
        run["truth"][-1][0] / EQUAL
    )  # before it everything moves; at step 0 a tuned model may be at its best
    for step, loss, accuracy in run["truth"]:
        if 0 < step < first:
            continue
        value = -np.log(loss + 1e-12) if loss_only else accuracy
        best = max(best, value)
        if best - value >= (np.log(1.07) if loss_only else _BY_TWO_POINTS):
            return int(step)
    return None


PEERS: dict[str, tuple[str, Rule]] = {
    "early stopping, patience 5, loss": ("validation labels", patience(5, by="loss")),
    "early stopping, patience 10, loss": ("validation labels", patience(10, by="loss")),
    "early stopping, patience 5, accuracy": ("validation labels", patience(5, by="accuracy")),
    "early stopping, patience 10, accuracy": ("validation labels", patience(10, by="accuracy")),
    "Label Wave": ("training predictions", label_wave),
    "evidence-based criterion": ("training gradients", evidence),
    "oracle: first fall of the whole validation set": ("validation labels", oracle),
}
"""What each rule needs besides, and the rule."""
