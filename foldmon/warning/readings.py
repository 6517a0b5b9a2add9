"""What the warning reads from one probe: a few numbers, none of which needs a held-out label."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from foldmon.folding.results.statistics import Floats, folding
from foldmon.journal.schema import Record

UNSURE = 0.7
"""A prediction below this confidence counts as unsure."""
LAYER = "layer "
"""What the names of per-layer readings start with."""
_FEW = 3


def read(record: Record) -> dict[str, float]:
    """The readings of a probe; NaN where the record does not tell.

    Args:
        record: a probe line of the journal: ``FoldingReport.to_dict()`` and what was logged.

    Returns:
        dict: of the folding, "phi", "tail" (logs of mean and 90% quantile over paths), "crossings" and
        "reach" (logs of the mean network r2 and r1), "profile" (cumulative folding, last layer minus
        first), "order" (share of layers at which it grows), "last_layer" (log), "within_between" (log
        ratio of r2 on paths whose ends are predicted alike and differently); of the decisions, "changes"
        (class changes a path beyond the one that different ends need), "elsewhere", "classes" (entropy
        of the predicted classes, nats), "unsure" (share of ends below 0.7 confidence), "entropy" (mean,
        nats) and "doubt" (its log), "margin" (log of the median log odds between the two leading
        classes), "low_margins", "margin_5", "margin_10" and "margin_25" (over the median: share of ends
        below a fifth of it, quantiles); "dead", "saturated" (mean shares), "nonfinite" (a count); where
        a training loss was logged, "loss" (its log), "loss_itself", "doubt_over_loss" (log ratio) and
        "doubt_less_loss", of a validation loss "val_loss"; and the log of each layer's folding under
        "layer " and its name.

    Example:
        >>> from foldmon.warning.readings import read
        >>> round(read({"phi": 0.05, "dead": [0.2, 0.4]})["dead"], 3)
        0.3
    """
    decision = record.get("decision") or {}
    logged = record.get("logged") or {}
    loss = _number(logged.get("loss"))
    entropy = _mean(_array(decision, "entropy"))
    return {
        **_folding(record, _array(decision, "ends").reshape(-1, 2)),
        **_depth(record),
        **_decisions(decision),
        **_margins(_array(decision, "probabilities")),
        "dead": _mean(_array(record, "dead")),
        "saturated": _mean(_array(record, "saturated")),
        "nonfinite": float(_array(record, "nonfinite").sum()),
        "loss": _log(loss, 1e-3),
        "loss_itself": loss,
        "doubt_over_loss": _log(entropy, 1e-2) - _log(loss, 1e-2),
        "doubt_less_loss": entropy - loss,
        "val_loss": _number(logged.get("val_loss")),
        **{
            LAYER + name: _log(float(value), 1e-3)
            for name, value in zip(record.get("layers", ()), record.get("folding", ()), strict=False)
        },
    }


def _folding(record: Record, ends: Floats) -> dict[str, float]:
    reach, walked = _array(record, "network_r1"), _array(record, "network_r2")
    whole = len(reach) == len(walked) and bool(np.isfinite(reach).all() and np.isfinite(walked).all())
    chi = folding(reach.astype(np.int64), walked.astype(np.int64)) if whole else np.empty(0)
    alike = ends[:, 0] == ends[:, 1]
    known = len(walked) == len(alike) and min(alike.sum(), (~alike).sum()) >= _FEW
    return {
        "phi": _log(_number(record.get("phi")), 1e-3),
        "tail": _log(float(np.quantile(chi, 0.9)), 1e-3) if len(chi) else math.nan,
        "crossings": _log(_mean(walked), 0.1),
        "reach": _log(_mean(reach), 0.1),
        "within_between": _log(_mean(walked[alike]), 0.1) - _log(_mean(walked[~alike]), 0.1)
        if known
        else math.nan,
    }


def _depth(record: Record) -> dict[str, float]:
    profile, own = _array(record, "cumulative"), _array(record, "folding")
    several = len(profile) > 1
    return {
        "profile": float(profile[-1] - profile[0]) if several else math.nan,
        "order": float((np.diff(profile) > 0).mean()) if several else math.nan,
        "last_layer": _log(float(own[-1]), 1e-3) if len(own) else math.nan,
    }


def _decisions(decision: Record) -> dict[str, float]:
    ends = _array(decision, "ends").reshape(-1, 2)
    shares = _array(decision, "probabilities")
    share = np.unique(ends, return_counts=True)[1] / max(ends.size, 1)
    return {
        "changes": _number(decision.get("changes")) - _mean(ends[:, 0] != ends[:, 1]),
        "elsewhere": _number(decision.get("elsewhere")),
        "classes": float(-(share * np.log(share)).sum()) if ends.size else math.nan,
        "unsure": _mean(shares[..., 0] < UNSURE) if shares.ndim == 3 else math.nan,
        "entropy": _mean(_array(decision, "entropy")),
        "doubt": _log(_mean(_array(decision, "entropy")), 1e-3),
    }


def _margins(shares: Floats) -> dict[str, float]:
    names = ("margin", "low_margins", "margin_5", "margin_10", "margin_25")
    if shares.ndim != 3 or shares.shape[2] < 2 or not np.isfinite(shares).all():
        return dict.fromkeys(names, math.nan)
    logs = np.log(shares[..., :2] + 1e-12)
    margins = logs[..., 0] - logs[..., 1]
    median = float(np.median(margins))
    low, lower, quarter = np.percentile(margins, (5, 10, 25)) / (median + 1e-6)
    few = float((margins < 0.2 * median).mean())
    return dict(zip(names, (_log(median, 1e-3), few, float(low), float(lower), float(quarter)), strict=True))


def _array(record: Record, name: str) -> Floats:
    return np.asarray(record.get(name, ()), dtype=np.float64)


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)


def _log(value: float, small: float) -> float:
    return math.log(value + small) if value >= 0 and math.isfinite(value) else math.nan


def _mean(values: npt.NDArray[Any]) -> float:
    return float(values.mean()) if values.size else math.nan
