"""Courses of single held-out inputs and single paths over the probes of a run, judged paired.

This is the benchmark's own plain form of the test, by which readings are compared with each other; the
detector that ships is foldmon's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

MEMORY = 3.0  # the temporal ensemble holds what was predicted in the last part of the run, this often its age
_SMALL = 1e-3


@dataclass(frozen=True, eq=False)
class Course:
    """A quantity of N units at T probes, high where something is wrong.

    Attributes:
        steps: shape (T,).
        values: shape (T, N): the latest known of each unit, NaN before.
    """

    steps: np.ndarray
    values: np.ndarray


def courses(run: dict[str, Any]) -> dict[str, Course]:
    """The courses of a stored run.

    "error" and "loss" (with labels), "turned" and "churn" (of the predictions), "changes", "elsewhere",
    "phi", "crossings" and "depth" (of the paths); of the development part "gap phi", "gap changes" and so
    on, too: of a held-out path less that of a training path, at the latest look.
    """
    records = run["records"]
    steps = np.array([record["step"] for record in records], dtype=np.float64)
    found: dict[str, Course] = {}
    inputs = max(((r.get("held_out") or {}).get("inputs", 0) for r in records), default=0)
    if any((r.get("held_out") or {}).get("predicted") for r in records):
        predicted = _latest(records, inputs, _of_inputs("predicted"))
        found["turned"] = Course(steps, _turned(steps, predicted))
        found["churn"] = Course(steps, _churn(steps, predicted))
        if any((r.get("held_out") or {}).get("correct") for r in records):
            found["error"] = Course(steps, 1 - _latest(records, inputs, _of_inputs("correct")))
            found["loss"] = Course(steps, _latest(records, inputs, _of_inputs("losses")))
    for name, reading in _PATHS.items():
        values = _latest(records, int(records[0]["pairs"]), reading)
        if np.isfinite(values).any():
            found[name] = Course(steps, values)
    return found | _gaps(run["paths"], steps)


def class_entropy(run: dict[str, Any]) -> np.ndarray:
    """Entropy of the predicted classes at each probe over that of evenly many, shape (T,).

    Near 0 where a model says the same class for all inputs, as it may for long before it learns.
    """
    found = []
    for record in run["records"]:
        counts = np.unique((record.get("held_out") or {}).get("predicted") or [0], return_counts=True)[1]
        shares = counts / counts.sum()
        found.append(-(shares * np.log(shares)).sum())
    return np.array(found) / np.log(max(2, int((run["records"][0]["decision"] or {}).get("of", 2))))


def _of_inputs(name: str) -> Callable[[dict[str, Any]], tuple[Any, Any]]:
    def read(record: dict[str, Any]) -> tuple[Any, Any]:
        held_out = record.get("held_out") or {}
        return held_out.get("measured"), held_out.get(name)

    return read


def _of_paths(read: Callable[[dict[str, Any]], Any]) -> Callable[[dict[str, Any]], tuple[Any, Any]]:
    return lambda record: (record.get("measured"), read(record))


def _phi(record: dict[str, Any]) -> np.ndarray:
    walked = np.array(record["network_r2"], dtype=np.float64)
    return np.where(walked > 0, 1 - np.array(record["network_r1"]) / np.maximum(walked, 1), 0.0)


def _depth(record: dict[str, Any]) -> np.ndarray:
    """Folding of the whole network less that of its first half of layers."""
    half = len(record["layers"]) // 2
    reach = np.array(record["path_r1_cumulative"], dtype=np.float64)[:, half]
    walked = np.array(record["path_r2"], dtype=np.float64)[:, : half + 1].sum(1)
    first: np.ndarray = np.where(walked > 0, 1 - reach / np.maximum(walked, 1), 0.0)
    return _phi(record) - first


_PATHS: dict[str, Callable[[dict[str, Any]], tuple[Any, Any]]] = {
    "changes": _of_paths(lambda record: (record["decision"] or {}).get("path_changes")),
    "elsewhere": _of_paths(lambda record: (record["decision"] or {}).get("path_elsewhere")),
    "phi": _of_paths(_phi),
    "crossings": _of_paths(lambda record: np.log(np.array(record["network_r2"], dtype=np.float64) + 1)),
    "depth": _of_paths(_depth),
}


def _gaps(looks: list[dict[str, Any]], steps: np.ndarray) -> dict[str, Course]:
    if not looks:
        return {}
    latest = np.searchsorted([look["step"] for look in looks], steps, side="right") - 1
    found = {}
    for name in ("phi", "changes", "elsewhere", "depth"):
        rows = [[_of_look(look[kind], name) for kind in ("held_out", "training")] for look in looks]
        pairs = min(len(part) for row in rows for part in row)
        values = np.array([held_out[:pairs] - training[:pairs] for held_out, training in rows])
        found[f"gap {name}"] = Course(steps, values[latest])
    return found


def _of_look(pairs: dict[str, Any], name: str) -> np.ndarray:
    if name == "depth":
        cumulative = np.array(pairs["cumulative"], dtype=np.float64)
        depth: np.ndarray = cumulative[:, -1] - cumulative[:, 0]
        return depth
    return np.array(pairs.get(name, [0.0]), dtype=np.float64)


def _latest(
    records: list[dict[str, Any]], units: int, read: Callable[[dict[str, Any]], tuple[Any, Any]]
) -> np.ndarray:
    values = np.full((len(records), units), np.nan)
    for row, record in enumerate(records):
        if row:
            values[row] = values[row - 1]
        places, found = read(record)
        if found is not None:
            known = np.asarray(found, dtype=np.float64)
            values[row, np.arange(units)[: len(known)] if places is None else places] = known
    return values


def _turned(steps: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """1 where an input is predicted otherwise than for most of the last part of the run.

    Temporal ensemble: Laine and Aila (arXiv 1610.02242).
    """
    classes = int(np.nanmax(predicted)) + 1
    held = np.zeros((predicted.shape[1], classes))
    turned = np.full(predicted.shape, np.nan)
    for row, now in enumerate(predicted):
        known = np.flatnonzero(np.isfinite(now))
        if row:
            turned[row, known] = held[known].argmax(1) != now[known]
        span = steps[row] - (steps[row - 1] if row else 0)
        keep = np.exp(-MEMORY * span / max(steps[row], 1.0))
        held *= keep
        held[known, now[known].astype(int)] += 1 - keep if row else 1.0
    return turned


def _churn(steps: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """1 where an input is predicted otherwise than when a tenth fewer steps were done."""
    rows = np.searchsorted(steps, 0.9 * steps, side="right") - 1
    rows = np.minimum(rows, np.maximum(np.arange(len(steps)) - 1, 0))
    churn = (predicted != predicted[rows]).astype(np.float64)
    churn[~np.isfinite(predicted) | ~np.isfinite(predicted[rows])] = np.nan
    churn[0] = np.nan
    return churn


@dataclass(frozen=True, eq=False)
class Rise:
    """How far a course is above its lowest value so far, at each probe.

    Attributes:
        mean: shape (T,), NaN where not known yet.
        z: shape (T,), in units of its standard error over the units; NaN likewise.
    """

    mean: np.ndarray
    z: np.ndarray

    def passes(self, margin: float, z: float) -> np.ndarray:
        """At which probes the rise is so large, in itself and in standard errors."""
        passed: np.ndarray = (np.nan_to_num(self.mean, nan=-1.0) >= margin) & (np.nan_to_num(self.z) >= z)
        return passed


def rise(course: Course, allowed: np.ndarray | None = None, *, reference: int = 3) -> Rise:
    """The paired rise of each unit above the probe at which the *other* half of the units was lowest.

    Choosing the lowest on one half and judging on the other costs nothing, so chance has no rise.

    Args:
        course: N units at T probes.
        allowed: shape (T,), which probes may be the lowest; None for all.
        reference: probes that the lowest is the mean of.
    """
    values = course.values
    mean, z = np.full(len(values), np.nan), np.full(len(values), np.nan)
    known = np.isfinite(values).all(1)
    first = int(known.argmax()) if known.any() else len(values)
    now = values[first:]
    lowest, may = running(now, reference), np.ones(len(now), bool) if allowed is None else allowed[first:]
    halves = [np.arange(values.shape[1]) % 2 == number for number in (0, 1)]
    costs = [np.where(may, lowest[:, half].mean(1), np.inf) for half in halves]
    best = [_argmin_so_far(cost) for cost in costs]
    for row in range(len(now)):
        if not may[: row + 1].any():
            continue
        apart = np.empty(values.shape[1])
        for half, places in zip(halves, reversed(best), strict=True):
            apart[half] = now[row, half] - lowest[places[row], half]
        spread = apart.std(ddof=1) / np.sqrt(len(apart))
        mean[first + row] = apart.mean()
        z[first + row] = apart.mean() / max(spread, _SMALL / len(apart))
    return Rise(mean, z)


def running(values: np.ndarray, count: int) -> np.ndarray:
    """Means of so many values until each, of fewer at the start; shape as given, (T, ...)."""
    sums = np.cumsum(np.concatenate([np.zeros((1, *values.shape[1:])), values]), axis=0)
    ends = np.arange(1, len(sums))
    begins = np.maximum(ends - count, 0)
    means: np.ndarray = ((sums[ends] - sums[begins]).T / (ends - begins)).T
    return means


def _argmin_so_far(values: np.ndarray) -> np.ndarray:
    best = np.zeros(len(values), dtype=int)
    for row in range(1, len(values)):
        best[row] = row if values[row] < values[best[row - 1]] else best[row - 1]
    return best
