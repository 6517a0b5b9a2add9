"""What an exporter is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from foldmon.journal.schema import Record


@runtime_checkable
class Exporter(Protocol):
    """Takes journal records to a backend. All calls come from one thread that is not the training's.

    ``write`` may raise: the same records are offered again later, so it must be safe to repeat. It raises
    :class:`PermanentError` where repeating cannot help. One that also has a ``finish(journal: Path)`` gets
    that call before ``close``, once all is delivered.
    """

    name: str

    def write(self, records: Sequence[Record]) -> None:
        """Deliver the records, in order; when it returns they are where readers see them."""

    def close(self) -> None:
        """Release what the exporter holds."""


class PermanentError(RuntimeError):
    """The backend will never take these records (a deleted run, ...): the exporter is given up."""
