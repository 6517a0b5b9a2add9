"""A run as the page sees it: read from its journal, sent piece by piece."""

from __future__ import annotations

import base64
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np

from foldmon.journal.following import Tail, read_at
from foldmon.journal.schema import Record
from foldmon.views.run.best import Best, best_of
from foldmon.views.run.rows import (
    COLUMNS,
    Floats32,
    Row,
    Rows,
    finite,
    readable,
)
from foldmon.views.run.scores import USERS, users_own, users_scores
from foldmon.views.run.undrawn import UNDRAWN
from foldmon.views.text import counted


class Run:
    """One journal, read on as it grows; safe to use from several threads.

    Args:
        path: of the journal.
        name: of the run, unique on a page.
        label: shown to the reader.
    """

    def __init__(self, path: str | os.PathLike[str], name: str, label: str) -> None:
        self.path, self.name, self.label = Path(path), name, label
        self.rows = Rows()
        self.start: Record | None = None
        self.end: Record | None = None
        self._failed: str | None = None
        self._malformed = 0
        self._foreign = 0
        self._tail = Tail(path, leave_out=UNDRAWN)
        self._lock = threading.Lock()

    @property
    def restarts(self) -> int:
        """How often another journal took the place of the one before."""
        return self._tail.restarts

    def refresh(self, seconds: float | None = None) -> bool:
        """Read what is new, for at most about ``seconds``; True where nothing is left to read."""
        with self._lock:
            restarts = self._tail.restarts
            try:
                lines = self._tail.read(seconds)
            except OSError as error:
                self._failed = f"The journal {self.path} cannot be read: {error.strerror or error}."
                return True
            self._failed = None
            if self._tail.restarts != restarts:
                self.rows.clear()
                self.start = self.end = None
                self._malformed = self._foreign = 0
            for record, offset in lines:
                self._take(record, offset)
            return self._tail.complete

    def _take(self, record: Record, offset: int) -> None:
        kind = record["kind"]
        if kind == "start":
            self.start, self.end = record, None
        elif kind == "end":
            self.end = record
        elif kind == "probe":
            self.end = None
            row = readable(record, index=self.rows.total, offset=offset)
            if row is not None:
                self.rows.add(row)
            else:
                self._malformed += 1
        else:
            self._foreign += 1

    def probe(self, seq: int) -> Record | None:
        """The whole record of a probe that the page knows, None where it is gone.

        Raises:
            OSError: the journal cannot be read.
        """
        with self._lock:
            offset = next((row.offset for row in self.rows.kept if row.values["seq"] == seq), None)
        record = None if offset is None else read_at(self.path, offset)
        return record if record is not None and record.get("seq") == seq else None

    def payload(self, version: int = -1, stable: int = 0, *, complete: bool = True) -> dict[str, Any]:
        """What the page needs of the run, as plain JSON values without NaN.

        Args:
            version: of the payload that the page holds; its rows are sent again where it differs.
            stable: number of rows that the page keeps of it.
            complete: whether the journal was read to its end.

        Returns:
            The state of the run and the rows from number ``from`` on: ``columns`` (a list a column) and the
            matrices ``folding`` and ``cumulative`` (rows x layers, float32, little-endian, base64).
        """
        with self._lock:
            rows = self.rows.kept
            begin = stable if version == self.rows.version and stable <= len(rows) else 0
            new = rows[begin:]
            layers = rows[-1].layers if rows else ()
            in_order = [row.in_order_of(layers) for row in new]
            best = self.best()
            return {
                "name": self.name,
                "label": self.label,
                "version": self.rows.version,
                "from": begin,
                "stable": self.rows.stable,
                "total": self.rows.total,
                "stride": self.rows.stride,
                "complete": complete,
                "state": self._state(),
                "problems": self.problems(complete),
                "start": _start(self.start),
                "last_ms": (self.end or (rows[-1].values if rows else self.start) or {}).get("time_ms"),
                "layers": list(layers),
                "columns": {name: [row.values[name] for row in new] for name in COLUMNS}
                | {kind: users_scores(kind, [row.logged for row in rows])[begin:] for kind in USERS},
                "users": _users_names(rows),
                "folding": _packed([folding for folding, _ in in_order]),
                "cumulative": _packed([cumulative for _, cumulative in in_order]),
                "warnings": [_event(row) for row in rows if row.event is not None],
                "best": None if best is None else {"row": best.row, "why": best.why},
            }

    def best(self) -> Best | None:
        """The best probe among the rows, see ``best_probe``."""
        return best_of(self.rows.kept)

    def _state(self) -> str:
        if self._failed is not None:
            return "broken"
        if not self.rows.kept:
            return "waiting" if self.start is not None else "empty"
        return "ended" if self.end is not None else "running"

    def problems(self, complete: bool = True) -> list[str]:
        """What keeps the run, or a part of it, from being shown."""
        if self._failed is not None:
            return [self._failed]
        problems = []
        unreadable = self._tail.unreadable
        if unreadable and (self.rows.kept or self.start is not None):
            problems.append(
                f"{counted(unreadable, 'line')} of the journal cannot be read, the first at byte "
                f"{self._tail.first_unreadable:,}: a process was killed in mid-write, or the file is damaged."
            )
        if self._malformed:
            problems.append(
                f"{counted(self._malformed, 'probe')} lack what a probe must have: the journal was written "
                "by another version of foldmon, or the file is damaged."
            )
        if not self.rows.kept and complete:
            problems.append(self._why_empty(unreadable))
        return problems

    def _why_empty(self, unreadable: int) -> str:
        if self.start is not None:
            return "No probe yet: training has started, and the first measurement is on its way."
        if self._tail.offset or unreadable or self._foreign:
            return "The file holds no record of foldmon's. Is it a journal?"
        return "The journal is empty: training has not written its first line yet."


def _start(record: Record | None) -> dict[str, Any] | None:
    if record is None:
        return None
    coverage, config = record.get("coverage") or {}, record.get("config") or {}
    return {
        "time_ms": record.get("time_ms"),
        "model": record.get("model"),
        "sites": coverage.get("sites") or {},
        "not_covered": coverage.get("not_covered") or {},
        "kinks": coverage.get("kinks") or {},
        "notes": coverage.get("notes") or [],
        "points": config.get("points"),
        "pairs": config.get("pairs"),
        "budget": config.get("budget"),
    }


def _users_names(rows: list[Row]) -> dict[str, str]:
    """What the user calls the held-out scores of their own."""
    names: dict[str, str] = {}
    for row in rows:
        for kind in USERS.keys() - names:
            if (name := users_own(kind, row.logged)) is not None:
                names[kind] = name
    return names


def _event(row: Row) -> dict[str, Any]:
    event = row.event or {}
    return {
        "seq": row.values["seq"],
        "step": finite(event.get("step", row.step)),
        "severity": event.get("severity", 1),
        "reasons": [str(reason) for reason in event.get("reasons", [])],
    }


def _packed(rows: list[Floats32]) -> str:
    stacked = np.stack(rows) if rows else np.zeros((0, 0), np.float32)
    return base64.b64encode(stacked.astype("<f4").tobytes()).decode("ascii")
