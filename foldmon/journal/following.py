"""Reading a journal while it is being written."""

from __future__ import annotations

import io
import json
import logging
import os
import re
import time
from collections.abc import Iterator
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

    A torn line (a process killed in mid-write) and a line that is no record at all are left out; what a
    record holds is not checked, see :func:`foldmon.journal.check.flaw`. A last line without its end is left
    for the next call: it may still be being written. A file that became shorter was replaced and is read
    from its beginning.

    Args:
        path: of the journal.
        leave_out: matches what of a line need not be parsed, a name with its value; None parses all.

    Attributes:
        offset: byte at which the next unread line begins; who sets it back reads again.
        complete: whether the last call of ``read`` read everything.
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

    def again(self) -> Tail:
        """Another one of the same journal, at its beginning."""
        return Tail(self.path, leave_out=self._leave_out)

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
        self.complete = False
        for part in self.parts():
            lines += part
            if until is not None and time.monotonic() > until:
                return lines
        self.complete = True
        return lines

    def parts(self) -> Iterator[list[Line]]:
        """The same in parts of about 4 MiB, to the end of the file; ``offset`` moves behind each.

        Raises:
            OSError: the file cannot be read.
        """
        while data := self._whole_lines():
            yield self._parse(data)

    def _whole_lines(self) -> bytes:
        """About 4 MiB from ``offset`` on, one line at least; empty where nothing whole is left."""
        with self.path.open("rb") as file:
            if os.fstat(file.fileno()).st_size < self.offset:
                self._forget()
                self.restarts += 1
            file.seek(self.offset)
            data = b""
            while b"\n" not in data and (more := file.read(_CHUNK)):
                data += more
        return data[: data.rfind(b"\n") + 1]

    def _parse(self, data: bytes) -> list[Line]:
        lines = []
        for line in io.BytesIO(data):
            short = line if self._leave_out is None else self._leave_out.sub(b'"":0', line)
            record, cause = parsed(short)
            if record is not None:
                lines.append(Line(record, self.offset))
            elif line.strip():
                logger.debug("foldmon: %s: the line at byte %d: %s", self.path, self.offset, cause)
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


def read_journal(
    path: str | os.PathLike[str], *, leave_out: re.Pattern[bytes] | None = None
) -> list[dict[str, Any]]:
    """All records of a journal, in order, as a :class:`Tail` reads them; empty where there is no file yet.

    Raises:
        OSError: the file cannot be read.
    """
    try:
        return [line.record for line in Tail(path, leave_out=leave_out).read()]
    except FileNotFoundError:
        return []


def parsed(line: bytes) -> tuple[dict[str, Any] | None, str]:
    """A line as a record, or None and the cause."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        return None, f"no JSON ({error})"
    if not isinstance(record, dict) or not isinstance(record.get("kind"), str):
        return None, "no JSON object with a kind"
    return record, ""
