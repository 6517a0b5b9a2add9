"""Reading a journal while it is being written."""

from __future__ import annotations

import json
import logging
import os
import re
import time
from pathlib import Path
from typing import Any, NamedTuple

logger = logging.getLogger("foldmon")

_CHUNK = 4 * 2**20


class Line(NamedTuple):
    """A whole record and where its line begins, in bytes."""

    record: dict[str, Any]
    offset: int


class Tail:
    """Reads a journal's new records, again and again.

    A last line without its end is left for the next call: it may still be being written. A file that
    became shorter was replaced and is read from its beginning.

    Args:
        path: of the journal.
        leave_out: matches what of a line need not be parsed, a name with its value; None parses all.

    Attributes:
        unreadable: lines met so far that hold no record.
        first_unreadable: byte offset of the first of them.
        restarts: how often the file was replaced.

    Example:
        >>> import tempfile, pathlib
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "journal.jsonl"
        >>> _ = path.write_text('{"kind": "probe", "step": 3}\\n{"kind": "pro')
        >>> tail = Tail(path)
        >>> [line.record["step"] for line in tail.read()], tail.complete
        ([3], True)
    """

    def __init__(self, path: str | os.PathLike[str], *, leave_out: re.Pattern[bytes] | None = None) -> None:
        self.path = Path(path)
        self._leave_out = leave_out
        self.complete = False
        self._forget()
        self.restarts = 0

    def _forget(self) -> None:
        self.offset = 0
        self.unreadable = 0
        self.first_unreadable: int | None = None

    def read(self, seconds: float | None = None) -> list[Line]:
        """The records that are new since the last call.

        Args:
            seconds: stop after about this time; ``complete`` tells whether everything was read.

        Raises:
            OSError: the file cannot be read.
        """
        until = None if seconds is None else time.monotonic() + seconds
        lines: list[Line] = []
        with self.path.open("rb") as file:
            if os.fstat(file.fileno()).st_size < self.offset:
                self._forget()
                self.restarts += 1
            file.seek(self.offset)
            left = b""
            while chunk := file.read(_CHUNK):
                data = left + chunk
                whole = data.rfind(b"\n") + 1
                lines += self._parse(data[:whole])
                left = data[whole:]
                if until is not None and time.monotonic() > until:
                    self.complete = False
                    return lines
        self.complete = True
        return lines

    def _parse(self, data: bytes) -> list[Line]:
        lines = []
        for line in data.splitlines(keepends=True):
            short = line if self._leave_out is None else self._leave_out.sub(b'"":0', line)
            record, _ = parsed(short)
            if record is not None:
                lines.append(Line(record, self.offset))
            elif line.strip():
                self.unreadable += 1
                if self.first_unreadable is None:
                    self.first_unreadable = self.offset
            self.offset += len(line)
        return lines


def read_at(path: str | os.PathLike[str], offset: int) -> dict[str, Any] | None:
    """The record whose line begins at a byte offset, None where there is none.

    Raises:
        OSError: the file cannot be read.
    """
    with open(path, "rb") as file:
        file.seek(offset)
        return parsed(file.readline())[0]


def read_journal(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """All whole records of a journal, in order; empty where there is no file yet.

    A torn line (a process killed in mid-write) and a line that is no record at all are left out. What a
    record holds is not checked: see :func:`foldmon.journal.check.flaw`.

    Raises:
        OSError: the file cannot be read.
    """
    return read_from(path, 0)[0]


def read_from(
    path: str | os.PathLike[str], offset: int, at_most: int | None = None
) -> tuple[list[dict[str, Any]], int]:
    """The whole records after a byte offset, and the offset behind the last of them.

    A last line without its end is not read yet: it may still be being written.

    Args:
        path: of the journal.
        offset: where a line begins.
        at_most: bytes to read, about; at least one line is read. None reads to the end.
    """
    data = _read(path, offset, at_most)
    whole = data.rfind(b"\n") + 1
    records = []
    for number, line in enumerate(data[:whole].split(b"\n")):
        record, cause = parsed(line)
        if record is not None:
            records.append(record)
        elif line.strip():
            logger.debug("foldmon: %s: line %d after byte %d: %s", path, number + 1, offset, cause)
    return records, offset + whole


def _read(path: str | os.PathLike[str], offset: int, at_most: int | None) -> bytes:
    try:
        with open(path, "rb") as file:
            file.seek(offset)
            data = file.read(-1 if at_most is None else at_most)
            while at_most is not None and b"\n" not in data and (more := file.read(at_most)):
                data += more
            return data
    except FileNotFoundError:
        return b""


def parsed(line: bytes) -> tuple[dict[str, Any] | None, str]:
    """A line as a record, or None and the cause."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        return None, f"no JSON ({error})"
    if not isinstance(record, dict) or not isinstance(record.get("kind"), str):
        return None, "no JSON object with a kind"
    return record, ""
