"""What the page draws of each probe, kept small however long the run."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from foldmon.journal.resuming import take_back
from foldmon.journal.schema import Record

Floats32 = npt.NDArray[np.float32]


def _at(*path: str | int) -> Callable[[Record], Any]:
    def get(record: Record) -> Any:
        value: Any = record
        for key in path:
            value = value[key] if isinstance(key, int) else (value or {}).get(key)
        return value

    return get


def _held_out(*path: str | int) -> Callable[[Record], Any]:
    """None where no inputs were predicted, or none with a class."""
    get = _at("held_out", *path)
    return lambda record: get(record) if _at("held_out", path[0])(record) is not None else None


def _pairs(record: Record) -> Any:
    """Number of pairs of the panel; an older journal tells by those measured, which were all."""
    paths = record.get("network_r1")
    pairs = record.get("pairs", None if paths is None else len(paths))
    return pairs if isinstance(pairs, int) else None


def _measured(record: Record) -> Any:
    measured = record.get("measured")
    return _pairs(record) if measured is None else len(measured)


COLUMNS: dict[str, Callable[[Record], Any]] = {
    "seq": _at("seq"),
    "step": _at("step"),
    "time_ms": _at("time_ms"),
    "phi": _at("phi"),
    "lower": _at("phi_interval", 0),
    "upper": _at("phi_interval", 1),
    "median_nonzero": _at("phi_median_nonzero"),
    "nonzero_fraction": _at("nonzero_fraction"),
    "max": _at("phi_max"),
    "changes": _at("decision", "changes"),
    "elsewhere": _at("decision", "elsewhere"),
    "heldout_loss": _held_out("loss"),
    "heldout_loss_lower": _held_out("loss_interval", 0),
    "heldout_loss_upper": _held_out("loss_interval", 1),
    "heldout_accuracy": _held_out("accuracy"),
    "heldout_accuracy_lower": _held_out("accuracy_interval", 0),
    "heldout_accuracy_upper": _held_out("accuracy_interval", 1),
    "level": _at("warning", "level"),
    "score": _at("warning", "score"),
    "best_step": _at("warning", "best_step"),
    "exact": _at("exact"),
    "evaluations": _at("evaluations"),
    "overhead": _at("monitor", "overhead"),
    "cost_seconds": _at("monitor", "cost_seconds"),
    "probe_seconds": _at("monitor", "probe_seconds"),
    "skipped": _at("monitor", "skipped"),
    "measured": _measured,
    "pairs": _pairs,
}


@dataclass(frozen=True)
class Row:
    """One probe: its numbers, its layers (length L) and the place of its line in the journal."""

    index: int
    offset: int
    values: dict[str, Any]
    logged: dict[str, float]
    event: dict[str, Any] | None
    layers: tuple[str, ...]
    folding: Floats32
    cumulative: Floats32

    @classmethod
    def of(cls, record: Record, *, index: int, offset: int) -> Row:
        """Read a record of kind "probe".

        Raises:
            KeyError, TypeError, ValueError, IndexError: the record lacks what a probe must have.
        """
        values = {name: finite(get(record)) for name, get in COLUMNS.items()}
        if values["step"] is None:
            values["step"] = record["seq"]
        layers = tuple(str(name) for name in record["layers"])
        folding = np.asarray(record["folding"], np.float32)
        cumulative = np.asarray(record["cumulative"], np.float32)
        if not folding.shape == cumulative.shape == (len(layers),):
            raise ValueError("folding and layers differ in length")
        logged = {
            str(name): float(value)
            for name, value in (record.get("logged") or {}).items()
            if isinstance(value, int | float)
        }
        event = (record.get("warning") or {}).get("event")
        return cls(index, offset, values, logged, event, layers, folding, cumulative)

    @property
    def step(self) -> int:
        """The training step."""
        return int(self.values["step"])

    @property
    def shared(self) -> bool:
        """Whether a share of the pairs was measured, so that the numbers are estimates for all of them."""
        return bool(self.values["measured"] != self.values["pairs"])

    def in_order_of(self, layers: Sequence[str]) -> tuple[Floats32, Floats32]:
        """Folding and cumulative folding, shape (L,) each, of the named layers; NaN where one is new."""
        if self.layers == tuple(layers):
            return self.folding, self.cumulative
        place = {name: i for i, name in enumerate(self.layers)}
        where = [place.get(name, -1) for name in layers]
        missing = np.float32(np.nan)
        return np.append(self.folding, missing)[where], np.append(self.cumulative, missing)[where]


def readable(record: Record, *, index: int = 0, offset: int = 0) -> Row | None:
    """The row of a probe's record, None where it lacks what a probe must have."""
    try:
        return Row.of(record, index=index, offset=offset)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        return None


def finite(value: Any) -> Any:
    """The value, None for what JSON in a browser cannot hold."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


class Rows:
    """The rows of a run, thinned evenly so that they stay below ``most``.

    Kept are every 2^k-th probe, those with a warning, and the latest. A probe at or before an earlier
    step (training was resumed or begun again) replaces what came after that step.

    Attributes:
        version: changes whenever rows that were handed out before are no longer those of now.
        total: number of probes read.

    Example:
        >>> rows = Rows(most=4)
        >>> for step in range(9):
        ...     rows.add(Row(step, 0, {"step": step}, {}, None, (), np.zeros(0), np.zeros(0)))
        >>> [row.step for row in rows.kept]
        [0, 4, 8]
    """

    def __init__(self, most: int = 2000) -> None:
        self._most = most
        self.version = -1
        self.clear()

    def clear(self) -> None:
        """Forget everything: the journal was replaced."""
        self.kept: list[Row] = []
        self.stride = 1
        self.total = 0
        self.version += 1

    def add(self, row: Row) -> None:
        """Append the next probe."""
        if take_back(self.kept, row.step, lambda kept: kept.step):
            self.version += 1
        elif self.kept and not self._stays(self.kept[-1]):
            self.kept.pop()
        self.kept.append(row)
        self.total += 1
        if len(self.kept) > self._most:
            self.stride *= 2
            self.kept = [kept for kept in self.kept[:-1] if self._stays(kept)] + self.kept[-1:]
            self.version += 1

    def _stays(self, row: Row) -> bool:
        return row.index % self.stride == 0 or row.event is not None

    @property
    def stable(self) -> int:
        """Number of rows that later probes leave in place, as long as ``version`` is the same."""
        return len(self.kept) - bool(self.kept and not self._stays(self.kept[-1]))
