"""Folders that are none of this machine: ``s3://``, ``gs://`` and whatever else fsspec reaches."""

from __future__ import annotations

import os
import re
from pathlib import Path

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


def is_remote(path: str | os.PathLike[str]) -> bool:
    """Whether a path is an address and not a folder of this machine.

    Example:
        >>> is_remote("s3://bucket/runs"), is_remote("runs/a"), is_remote(Path("runs"))
        (True, False, False)
    """
    return bool(_URL.match(os.fspath(path)))


class Mirror:
    """Copies local files into a folder elsewhere.

    Args:
        url: of the folder.

    Raises:
        ValueError: nothing that is installed reaches it; the message says what to do.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        try:
            import fsspec

            self._files, self._root = fsspec.core.url_to_fs(self.url)
        except (ImportError, ValueError) as error:
            raise ValueError(
                f"{url} cannot be written ({error}); install fsspec and what it needs for this address "
                "(such as s3fs or gcsfs), or give a folder of this machine"
            ) from error

    def put(self, file: Path) -> None:
        """Copy a file there, under its own name, in place of an older copy.

        Raises:
            Exception: whatever the file system raises.
        """
        self._files.makedirs(self._root, exist_ok=True)
        self._files.put_file(os.fspath(file), f"{self._root}/{file.name}")
