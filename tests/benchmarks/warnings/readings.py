"""Readings that were tried and that the shipped forests do without, beside those that foldmon reads."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from foldmon.folding.results.statistics import Floats, folding
from foldmon.warning import readings as shipped
from foldmon.warning.readings import array, log, mean

_FEW = 3


def read(record: dict[str, Any]) -> dict[str, float]:
    """The readings of a probe: those of ``foldmon.warning.readings.read``, and the ones compared with them.

    Returns:
        dict: besides, "tail" (log of the folding of the most folded paths: the 90% quantile), "reach" (log of
        the mean network r1, the largest distance from the start of a path), "within_between" (log ratio of
        the crossings on paths whose ends are predicted alike and differently); "profile" (growth of folding
        with depth: cumulative folding, last layer minus first), "order" (share of layers at which it grows),
        "last_layer" (log of the last layer's folding); "dead", "saturated" (mean shares of units) and
        "nonfinite" (a count).

    Example:
        >>> round(read({"dead": [0.2, 0.4]})["dead"], 3)
        0.3
    """
    return {
        **shipped.read(record),
        **_paths(record),
        **_depth(record),
        "dead": mean(array(record, "dead")),
        "saturated": mean(array(record, "saturated")),
        "nonfinite": float(array(record, "nonfinite").sum()),
    }


def _paths(record: dict[str, Any]) -> dict[str, float]:
    reach, walked = array(record, "network_r1"), array(record, "network_r2")
    whole = len(reach) == len(walked) and bool(np.isfinite(reach).all() and np.isfinite(walked).all())
    chi = folding(reach.astype(np.int64), walked.astype(np.int64)) if whole else np.empty(0)
    return {
        "tail": log(float(np.quantile(chi, 0.9)), 1e-3) if len(chi) else math.nan,
        "reach": log(mean(reach), 0.1),
        "within_between": _within_between(walked, array(record.get("decision") or {}, "ends").reshape(-1, 2)),
    }


def _within_between(walked: Floats, ends: Floats) -> float:
    alike = ends[:, 0] == ends[:, 1]
    if len(walked) != len(alike) or min(alike.sum(), (~alike).sum()) < _FEW:
        return math.nan
    return log(mean(walked[alike]), 0.1) - log(mean(walked[~alike]), 0.1)


def _depth(record: dict[str, Any]) -> dict[str, float]:
    profile, own = array(record, "cumulative"), array(record, "folding")
    several = len(profile) > 1
    return {
        "profile": float(profile[-1] - profile[0]) if several else math.nan,
        "order": float((np.diff(profile) > 0).mean()) if several else math.nan,
        "last_layer": log(float(own[-1]), 1e-3) if len(own) else math.nan,
    }
