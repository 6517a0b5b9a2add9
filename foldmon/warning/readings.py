"""What the warning reads from one probe: a few numbers, none of which needs a held-out label."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from foldmon.folding.results.statistics import Floats
from foldmon.journal.schema import Record

UNSURE = 0.7
"""A prediction below this confidence counts as unsure."""
LAYER = "layer "
"""What the names of per-layer readings start with."""


def read(record: Record) -> dict[str, float]:
    """The readings of a probe; NaN where the record does not tell.

    Args:
        record: a probe line of the journal: ``FoldingReport.to_dict()`` and what was logged.

    Returns:
        dict: of the folding, "phi" (log of the mean) and "crossings" (log of the mean network r2); of the
        decisions, "changes" (class changes a path beyond the one that different ends need), "elsewhere",
        "classes" (entropy of the predicted classes, nats), "unsure" (share of ends below 0.7 confidence),
        "entropy" (mean, nats) and "doubt" (its log), "margin" (log of the median log odds between the two
        leading classes), "low_margins", "margin_5", "margin_10" and "margin_25" (over the median: share of
        ends below a fifth of it, quantiles); where a training loss was logged, "loss" (its log),
        "loss_itself", "doubt_over_loss" (log ratio) and "doubt_less_loss", of a validation loss "val_loss";
        and the log of each layer's folding under "layer " and its name.

    Example:
        >>> from foldmon.warning.readings import read
        >>> round(read({"decision": {"changes": 1.5, "ends": [[0, 1], [2, 2]]}})["changes"], 3)
        1.0
    """
    decision = record.get("decision") or {}
    logged = record.get("logged") or {}
    loss = _number(logged.get("loss"))
    entropy = mean(array(decision, "entropy"))
    return {
        "phi": log(_number(record.get("phi")), 1e-3),
        "crossings": log(mean(array(record, "network_r2")), 0.1),
        **_decisions(decision),
        **_margins(array(decision, "probabilities")),
        "loss": log(loss, 1e-3),
        "loss_itself": loss,
        "doubt_over_loss": log(entropy, 1e-2) - log(loss, 1e-2),
        "doubt_less_loss": entropy - loss,
        "val_loss": _number(logged.get("val_loss")),
        **{
            LAYER + name: log(float(value), 1e-3)
            for name, value in zip(record.get("layers", ()), record.get("folding", ()), strict=False)
        },
    }


def _decisions(decision: Record) -> dict[str, float]:
    ends = array(decision, "ends").reshape(-1, 2)
    shares = array(decision, "probabilities")
    share = np.unique(ends, return_counts=True)[1] / max(ends.size, 1)
    return {
        "changes": _number(decision.get("changes")) - mean(ends[:, 0] != ends[:, 1]),
        "elsewhere": _number(decision.get("elsewhere")),
        "classes": float(-(share * np.log(share)).sum()) if ends.size else math.nan,
        "unsure": mean(shares[..., 0] < UNSURE) if shares.ndim == 3 else math.nan,
        "entropy": mean(array(decision, "entropy")),
        "doubt": log(mean(array(decision, "entropy")), 1e-3),
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
    return dict(zip(names, (log(median, 1e-3), few, float(low), float(lower), float(quarter)), strict=True))


def array(record: Record, name: str) -> Floats:
    """A field as numbers; empty where the record does not hold it."""
    return np.asarray(record.get(name, ()), dtype=np.float64)


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)


def log(value: float, small: float) -> float:
    """The logarithm, kept finite at 0 by a small number; NaN of what is negative or not finite."""
    return math.log(value + small) if value >= 0 and math.isfinite(value) else math.nan


def mean(values: npt.NDArray[Any]) -> float:
    """The mean, NaN of nothing."""
    return float(values.mean()) if values.size else math.nan
