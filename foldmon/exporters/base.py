"""What an exporter is."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

from foldmon.journal.schema import Record

WriteReport = Callable[[Path, Path], object]
"""Writes the report of a journal (the first path) as an HTML page (the second)."""


@runtime_checkable
class Exporter(Protocol):
    """Takes journal records to a backend. All calls come from one thread that is not the training's.

    ``write`` may raise: the same records are offered again later, so it must be safe to repeat. It raises
    :class:`PermanentError` where repeating cannot help. One that has the method of :class:`Recalling` or of
    :class:`Finishing` gets that call too.
    """

    name: str

    def write(self, records: Sequence[Record]) -> None:
        """Deliver the records, in order; when it returns they are where readers see them."""

    def close(self) -> None:
        """Release what the exporter holds."""


@runtime_checkable
class Recalling(Protocol):
    """An exporter that goes by what an earlier process delivered of the same journal."""

    def recall(self, earlier: Iterable[Record]) -> None:
        """Look at those records, from the journal's beginning on, before the first ``write``.

        They are read from the file as they are asked for: who stops early costs little.
        """


@runtime_checkable
class Frugal(Protocol):
    """An exporter that does without a part of each record."""

    unread: re.Pattern[bytes]  # matches what of a line is not parsed for it, see foldmon.journal.unparsed


@runtime_checkable
class Unhurried(Protocol):
    """An exporter of which a request costs much and its content little, such as a database's."""

    apart: float  # least seconds from one write to the next, but where someone waits for it


@runtime_checkable
class Finishing(Protocol):
    """An exporter that adds something once all is delivered, before ``close``."""

    def finish(self, journal: Path, write_report: WriteReport) -> None:
        """The run is over, and the journal is whole; an error costs this call only."""


@runtime_checkable
class Losable(Protocol):
    """An exporter whose backend can lose what was delivered, such as a folder that someone removes."""

    def lost(self) -> bool:
        """Whether that has happened; everything is delivered once more then, from the journal's beginning."""


class PermanentError(RuntimeError):
    """The backend will never take these records (a deleted run, ...): the exporter is given up."""
