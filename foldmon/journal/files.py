"""Files with one writer that never hold half of what was meant."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

try:
    import fcntl
except ImportError:  # no POSIX system: two writers are not told apart there
    fcntl = None  # type: ignore[assignment]

_CHUNK = 4 * 2**20


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


def copy_whole(source: int, target: int) -> None:
    """Append what an open file holds to another one, or nothing.

    Raises:
        OSError: it could not be read or written.
    """
    size, place = os.fstat(target).st_size, 0
    try:
        while data := os.pread(source, _CHUNK, place):
            append_whole(target, data)
            place += len(data)
    except OSError:
        os.ftruncate(target, size)
        raise


def is_at(file: int, path: Path) -> bool:
    """Whether an open file is still the one at a path."""
    try:
        return os.path.samestat(os.fstat(file), os.stat(path))
    except OSError:
        return False


def claim(file: int) -> bool:
    """Become the file's one writer until it is released, or the process ends however it does.

    Returns:
        False where another has it. Where the file system knows no locks nobody is kept out.
    """
    if fcntl is None or not stat.S_ISREG(os.fstat(file).st_mode):
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def release(file: int) -> None:
    """Close a file that was claimed."""
    if fcntl is not None:
        # A forked child (a loader's worker) holds the same lock: closing alone would not give it up.
        with contextlib.suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_UN)
    os.close(file)
