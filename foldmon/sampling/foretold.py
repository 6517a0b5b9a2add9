"""What a probe will cost, before there was one."""

from __future__ import annotations

import time

import numpy as np

from foldmon.folding.data.reading import FEWEST
from foldmon.folding.model.prober import Prober
from foldmon.sampling.plan import Plan

_TRIAL = 4  # pairs that tell the cost of one
_QUICK = 0.5  # seconds that these may seem to take
_LOOKS = 40  # times that the allowance pays for predicting all inputs that are followed


def foretold(plan: Plan, prober: Prober, *, tried: bool) -> tuple[float, float]:
    """Seconds of an input, and of a probe beside its inputs.

    Told by the passes that looked the model over: few rows cost little but the fixed part of a pass, so where
    a trial is quick, some pairs, and one alone, tell more.

    Args:
        plan: what is measured.
        prober: that has looked the model over.
        tried: whether there may be a trial.
    """
    a_row, points = prober.seconds_a_row, plan.config.points
    if not tried or plan.shares < _TRIAL or _TRIAL * points * a_row >= _QUICK:
        return a_row, 0.0
    few, one = (_seconds(plan, prober, count) for count in (_TRIAL, 1))
    a_row = max(few - one, few / 10) / (_TRIAL - 1) / points
    return a_row, max(one - a_row * points, 0.0)


def cheap_to_follow(plan: Plan, a_row: float) -> int:
    """How many held-out inputs are followed: more than usual only where predicting all of them is cheap.

    Args:
        plan: what is measured.
        a_row: seconds of an input.
    """
    return max(FEWEST, int(plan.config.allowance / _LOOKS / max(a_row, 1e-9)))


def _seconds(plan: Plan, prober: Prober, pairs: int) -> float:
    began = time.perf_counter()
    plan.fold(prober, np.arange(pairs))
    return time.perf_counter() - began
