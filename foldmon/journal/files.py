"""Appending to a file so that it never holds half of what was meant."""

from __future__ import annotations

import os


def append_whole(file: int, data: bytes) -> None:
    """Write all of ``data`` at the end of an open file, or nothing (a full disk takes a part).

    Raises:
        OSError: the data could not be written.
    """
    size = os.fstat(file).st_size
    try:
        written = 0
        while written < len(data):
            written += os.write(file, data[written:])
    except OSError:
        os.ftruncate(file, size)
        raise
