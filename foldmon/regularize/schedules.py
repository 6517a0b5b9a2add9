"""Schedules of the regularizer's weight: plain callables of the step and of the last soft phi."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

Schedule = Callable[[int, Tensor | None], float | Tensor]
"""``schedule(step, phi)``: ``step`` counts the batches so far, from 0; ``phi`` is the last soft phi that was
computed, a detached 0-d tensor on the model's device (None before the first). A schedule that returns
the number 0 costs nothing: the extra forward pass is left out."""


def constant(weight: float) -> Schedule:
    """The same weight at every step.

    Example:
        >>> from foldmon.regularize import constant
        >>> constant(0.01)(1000, None)
        0.01
    """
    _check(weight)
    return lambda step, phi: weight


def early(weight: float, steps: int) -> Schedule:
    """Full weight during the first ``steps`` steps, then none, and no cost.

    Source: "The Space Between: On Folding, Symmetries and Sampling", arXiv 2503.08502, suggests to
    encourage folding early in training.

    Example:
        >>> from foldmon.regularize import early
        >>> early(0.01, steps=100)(99, None), early(0.01, steps=100)(100, None)
        (0.01, 0.0)
    """
    _check(weight, steps)
    return lambda step, phi: weight if step < steps else 0.0


def cosine(weight: float, steps: int) -> Schedule:
    """From the full weight down to 0 after ``steps`` steps, along half a cosine.

    Example:
        >>> from foldmon.regularize import cosine
        >>> cosine(0.01, steps=100)(0, None), round(cosine(0.01, steps=100)(50, None), 6)
        (0.01, 0.005)
    """
    _check(weight, steps)

    def schedule(step: int, phi: Tensor | None) -> float:
        return weight * (1 + math.cos(math.pi * step / steps)) / 2 if step < steps else 0.0

    return schedule


def sparse(schedule: float | Schedule, every: int) -> Schedule:
    """``every`` times the weight, at every ``every``-th step only: the same mean pull for less.

    Args:
        schedule: a weight, or a schedule of it.
        every: steps from one term to the next.

    Example:
        >>> from foldmon.regularize import sparse
        >>> [sparse(0.01, every=4)(step, None) for step in range(5)]
        [0.04, 0.0, 0.0, 0.0, 0.04]
    """
    if every < 1:
        raise ValueError(f"every must be at least 1 step, got {every}")
    weigh = schedule if callable(schedule) else constant(schedule)
    return lambda step, phi: 0.0 if step % every else every * weigh(step, phi)


def target(phi: float, weight: float) -> Schedule:
    """Raise (or lower) the soft phi to a value and hold it there.

    The weight follows the last soft phi in proportion: full where nothing folds, 0 at the target,
    negative above it, never beyond ``weight`` in size. A larger weight leaves a smaller distance to it.

    Args:
        phi: the target, above 0, of the soft phi in ``FoldingRegularizer.values``. That is not the phi of
            the report: the softness and the few points of a path shift it.
        weight: largest size of the weight, above 0.

    Example:
        >>> import torch
        >>> from foldmon.regularize import target
        >>> hold = target(0.05, weight=1.0)
        >>> [round(float(hold(1, torch.tensor(phi))), 3) for phi in (0.0, 0.04, 0.05, 0.2)]
        [1.0, 0.2, 0.0, -1.0]
    """
    if not phi > 0:
        raise ValueError(f"the target phi must be above 0, got {phi}; a negative constant weight flattens")
    if not weight > 0:
        raise ValueError(f"the weight of a target must be above 0, got {weight}")

    def schedule(step: int, last: Tensor | None) -> float | Tensor:
        if last is None:
            return weight
        # A batch without a pair leaves NaN, which must not reach the weight.
        return weight * torch.nan_to_num((phi - last) / phi).clamp(-1.0, 1.0)

    return schedule


def _check(weight: float, steps: int = 1) -> None:
    if not math.isfinite(weight):
        raise ValueError(f"the weight must be finite, got {weight}")
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}")
