"""What the warning reads from one probe: a few numbers, none of which needs a label."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from foldmon.measure.statistics import folding

Record = Mapping[str, Any]
Ends = npt.NDArray[np.int64]

_SMALL = 1e-3
_MANY = 3


def read(record: Record) -> dict[str, float]:
    """The readings of a probe; NaN where the record does not tell.

    Args:
        record: a probe line of the journal: ``FoldingReport.to_dict()`` and what was logged.

    Returns:
        dict: "phi" and "tail" (mean and 90% quantile of the network folding, logarithms), "crossings"
        (log of the mean network r2), "last_to_first" (log ratio of r2 in the last layer and the first),
        "profile" (growth of cumulative folding from the first layer to the last), "order" (share of
        layers at which it grows), "last_layer" (log folding of the last layer), "changes" (class changes
        a path beyond the one that two different ends need), "elsewhere", "within_between" (log ratio of
        r2 on paths whose ends are predicted alike and differently), "classes" (entropy of the predicted
        classes, nats), "dead", "saturated", "nonfinite" (shares and a count), "loss" (log of the logged
        training loss).

    Example:
        >>> from foldmon.warning.readings import read
        >>> round(read({"phi": 0.05, "dead": [0.2, 0.4]})["dead"], 3)
        0.3
    """
    walked = np.asarray(record.get("network_r2", ()), dtype=np.float64)
    chi = folding(np.asarray(record.get("network_r1", ()), dtype=np.int64), walked.astype(np.int64))
    decision = record.get("decision") or {}
    ends = np.asarray(decision.get("ends", ()), dtype=np.int64).reshape(-1, 2)
    alike = ends[:, 0] == ends[:, 1]
    return {
        "phi": _log(_number(record.get("phi"))),
        "tail": _log(float(np.quantile(chi, 0.9)) if len(chi) else math.nan),
        "crossings": _log(_mean(walked)),
        **_depth(record),
        "changes": _number(decision.get("changes")) - _mean(~alike),
        "elsewhere": _number(decision.get("elsewhere")),
        "within_between": _within_between(walked, alike),
        "classes": _entropy(ends),
        "dead": _mean(record.get("dead", ())),
        "saturated": _mean(record.get("saturated", ())),
        "nonfinite": float(np.sum(record.get("nonfinite", ()))),
        "loss": _log(_number((record.get("logged") or {}).get("loss"))),
    }


def _depth(record: Record) -> dict[str, float]:
    profile = np.asarray(record.get("cumulative", ()), dtype=np.float64)
    walked, own = record.get("r2", ()), record.get("folding", ())
    several = len(profile) > 1
    return {
        "profile": float(profile[-1] - profile[0]) if several else math.nan,
        "order": float((np.diff(profile) > 0).mean()) if several else math.nan,
        "last_layer": _log(own[-1]) if len(own) else math.nan,
        "last_to_first": _log(walked[-1]) - _log(walked[0]) if len(walked) > 1 else math.nan,
    }


def _within_between(walked: npt.NDArray[np.float64], alike: npt.NDArray[np.bool_]) -> float:
    if len(walked) != len(alike) or min(alike.sum(), (~alike).sum()) < _MANY:
        return math.nan
    return _log(_mean(walked[alike])) - _log(_mean(walked[~alike]))


def _entropy(ends: Ends) -> float:
    if not ends.size:
        return math.nan
    share = np.unique(ends, return_counts=True)[1] / ends.size
    return float(-(share * np.log(share)).sum())


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)


def _log(value: float) -> float:
    return math.log(value + _SMALL) if value >= 0 and math.isfinite(value) else math.nan


def _mean(values: Sequence[float] | npt.NDArray[Any]) -> float:
    return float(np.mean(values)) if len(values) else math.nan
