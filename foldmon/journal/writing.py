"""The journal: one JSON line a record, written before any backend sees it, and the queue they read from.

What the records hold stands in :mod:`foldmon.journal.schema`.
"""

from __future__ import annotations

import json
import logging
import os
import tempfile
import threading
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from foldmon.journal.files import append_whole
from foldmon.journal.finding import JOURNAL
from foldmon.journal.following import read_journal
from foldmon.journal.schema import Record

logger = logging.getLogger("foldmon")

_WAITING_MOST = 100_000


class JSONLExporter:
    """A journal file. Given to ``foldmon.watch`` it says where the journal goes.

    Args:
        path: of the file; folders are made. An existing journal is continued.

    Example:
        >>> import tempfile, os
        >>> path = os.path.join(tempfile.mkdtemp(), "journal.jsonl")
        >>> journal = JSONLExporter(path)
        >>> journal.write([{"kind": "probe", "step": 10, "phi": 0.02}])
        >>> [record["step"] for record in read_journal(path)]
        [10]
        >>> journal.close()
    """

    name = "jsonl"

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.failures = 0
        self._lock = threading.Lock()
        self._file: int | None = None
        self._seq: int | None = None
        self._waiting: deque[bytes] = deque()

    def write(self, records: Sequence[Record]) -> None:
        """Append the records; each gets its ``seq`` and, where it has none, its ``time_ms``.

        Raises:
            OSError: the file cannot be written. The records are kept and written by a later call.
        """
        with self._lock:
            for record in records:
                self._waiting.append(self._line(record))
                if len(self._waiting) > _WAITING_MOST:
                    self._waiting.popleft()
            self._drain()

    @property
    def waiting(self) -> int:
        """Number of records that could not be written yet and are in memory only."""
        return len(self._waiting)

    def flush(self) -> None:
        """Try again to write what could not be written before.

        Raises:
            OSError: it still cannot.
        """
        with self._lock:
            self._drain()

    def close(self) -> None:
        """Close the file; a later write opens it again."""
        with self._lock:
            if self._file is not None:
                os.close(self._file)
                self._file = None

    def move_to_temporary(self) -> None:
        """Continue in a temporary folder, where the journal's own place cannot be written.

        Raises:
            OSError: there is no temporary folder to be had either.
        """
        folder = tempfile.mkdtemp(prefix="foldmon-")
        self.close()
        with self._lock:
            self.path = Path(folder) / JOURNAL

    def prepare(self) -> None:
        """Open the file now, so that a wrong path shows at once.

        Raises:
            OSError: the file cannot be opened for writing.
        """
        with self._lock:
            self._opened()

    def _line(self, record: Record) -> bytes:
        if self._seq is None:
            self._seq = _last_seq(self.path) + 1
        # Records that come from another journal keep their number and time.
        full = {"seq": self._seq, "time_ms": time.time_ns() // 1_000_000, **record}
        self._seq = full["seq"] + 1
        return (json.dumps(full, separators=(",", ":")) + "\n").encode()

    def _drain(self) -> None:
        try:
            file = self._opened()
            while self._waiting:
                append_whole(file, self._waiting[0])
                self._waiting.popleft()
        except OSError:
            self.failures += 1
            raise

    def _opened(self) -> int:
        if self._file is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
            try:
                _end_torn_line(file)
            except OSError:
                os.close(file)
                raise
            self._file = file
        return self._file


def _end_torn_line(file: int) -> None:
    """Close the line that a killed process left open, so that the next one stays whole."""
    size = os.fstat(file).st_size
    if size and os.pread(file, 1, size - 1) != b"\n":
        os.write(file, b"\n")


def _last_seq(path: Path) -> int:
    try:
        seqs = [record.get("seq") for record in read_journal(path)]
    except OSError:
        # A file that cannot be read cannot be continued either: opening it says so.
        return -1
    return max((seq for seq in seqs if isinstance(seq, int)), default=-1)
