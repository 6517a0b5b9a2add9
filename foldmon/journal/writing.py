"""The journal: one JSON line a record, written before any backend sees it, and the queue they read from.

What the records hold stands in :mod:`foldmon.journal.schema`.
"""

from __future__ import annotations

import logging
import os
import tempfile
import threading
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from foldmon.journal.files import append_whole, claim, copy_whole, is_at, release
from foldmon.journal.finding import JOURNAL, local
from foldmon.journal.following import read_journal
from foldmon.journal.plain import json_text
from foldmon.journal.schema import Record

logger = logging.getLogger("foldmon")

_WAITING_MOST = 100_000


class TakenError(OSError):
    """Another monitor, of this process or of another, writes to this journal."""


class JSONLExporter:
    """A journal file. Given to ``foldmon.watch`` it says where the journal goes.

    The path is made absolute at once, so that it stays when the working folder changes. A journal has one
    writer; one that is removed or replaced while it is written is made whole again at its place.

    Args:
        path: of the file; folders are made, ``~`` is the home folder. An existing journal is continued.

    Raises:
        ValueError: the path is an address.

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
        if "://" in os.fspath(path):
            raise ValueError(f"a journal is a file of this machine, got {path}; a log_dir may lie elsewhere")
        self.path = local(path)
        self.comebacks = 0  # how often the file was gone, or another one in its place
        self._lock = threading.Lock()
        self._file: int | None = None
        self._seq: int | None = None
        self._size = 0  # of the file, after the latest write
        self._waiting: deque[bytes] = deque()

    def write(self, records: Sequence[Record]) -> None:
        """Append the records; each gets its ``seq`` and, where it has none, its ``time_ms``.

        Raises:
            OSError: the file cannot be written. The records are kept and written by a later call.
            TypeError: a record holds what is no value of JSON.
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
        """Try again to write what could not be written before, and see that the file is still in its place.

        Raises:
            OSError: it still cannot be written.
        """
        with self._lock:
            self._drain()

    def close(self) -> None:
        """Close the file; a later write opens it again."""
        with self._lock:
            if self._file is not None:
                release(self._file)
                self._file = None

    def move(self, path: str | os.PathLike[str]) -> None:
        """Continue at another place, with all that the journal held as far as it can be read.

        Raises:
            OSError: that place cannot be written either.
        """
        with self._lock:
            self.path, before = Path(path), self._file
            self._file, self._size = None, 0
            try:
                file = self._opened()
                if before is not None and not os.fstat(file).st_size:
                    copy_whole(before, file)
            finally:
                if before is not None:
                    release(before)

    def move_to_temporary(self) -> None:
        """Continue in a temporary folder, where the journal's own place cannot be written.

        Raises:
            OSError: there is no temporary folder to be had either.
        """
        self.move(Path(tempfile.mkdtemp(prefix="foldmon-")) / JOURNAL)

    def prepare(self) -> None:
        """Open the file now, so that a wrong path shows at once.

        Raises:
            TakenError: another monitor writes to it.
            OSError: the file cannot be opened for writing.
        """
        with self._lock:
            self._opened()

    def _line(self, record: Record) -> bytes:
        if self._seq is None:
            self._seq = _last_seq(self.path) + 1
        # Records that come from another journal keep their number and time.
        full = {"seq": self._seq, "time_ms": time.time_ns() // 1_000_000, **record}
        line = (json_text(full, separators=(",", ":")) + "\n").encode()
        self._seq = full["seq"] + 1
        return line

    def _drain(self) -> None:
        file = self._opened()
        while self._waiting:
            append_whole(file, self._waiting[0])
            self._waiting.popleft()
        self._size = os.fstat(file).st_size

    def _opened(self) -> int:
        if self._file is not None and not is_at(self._file, self.path):
            self._come_back(self._file)
        if self._file is None:
            self._file = self._open()
        if (size := os.fstat(self._file).st_size) < self._size:
            logger.warning(
                "foldmon: someone cut the journal %s from %d to %d bytes", self.path, self._size, size
            )
            self._size = size
        return self._file

    def _open(self) -> int:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            if not claim(file):
                raise TakenError(f"another monitor writes to {self.path}")
            _end_torn_line(file)
        except OSError:
            os.close(file)
            raise
        return file

    def _come_back(self, before: int) -> None:
        """The file was removed, moved or replaced: as long as it is open, nothing of it is lost."""
        again = self._open()
        # What someone put in its place is continued as it is: it may be an edited copy.
        kept = os.fstat(again).st_size
        try:
            if not kept:
                copy_whole(before, again)
        except OSError:
            release(again)
            raise
        release(before)
        self._file, self._size = again, 0
        self.comebacks += 1
        logger.warning(
            "foldmon: the journal %s was %s while it was written; %s",
            self.path,
            "replaced" if kept else "removed or moved",
            "it goes on behind what is there now" if kept else "it is there again, with all that it held",
        )


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
