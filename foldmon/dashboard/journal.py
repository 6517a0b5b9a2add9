"""Reading a journal while it is being written."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path
from typing import Any, NamedTuple

from foldmon.exporters.journal import parsed

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
