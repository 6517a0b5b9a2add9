"""The output of a monitor: the journal first, then a delivery for each exporter."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

from foldmon.exporters.base import Exporter, WriteReport
from foldmon.exporters.delivery import Delivery
from foldmon.journal.schema import Record
from foldmon.journal.writing import JSONLExporter

logger = logging.getLogger("foldmon")


class Output:
    """Writes records into the journal and wakes the deliveries. It never raises.

    Args:
        journal: where every record goes first; where its place cannot be written, a temporary folder
            takes over, with one warning.
        exporters: what reads the journal, each in a thread of its own.
        write_report: what an exporter that finishes may draw the run with: nothing here draws.
    """

    def __init__(
        self, journal: JSONLExporter, exporters: Sequence[Exporter], write_report: WriteReport
    ) -> None:
        self.journal = journal
        try:
            journal.prepare()
        except OSError as error:
            self._move_journal(error)
        names = [exporter.name for exporter in exporters]
        self._deliveries = [
            # Two exporters of one kind have a cursor each.
            Delivery(exporter, journal.path, write_report, _numbered(name, names[:place].count(name)))
            for place, (exporter, name) in enumerate(zip(exporters, names, strict=True))
        ]
        self._journal_failed = False

    def write(self, record: Record) -> None:
        """Journal the record, then let the exporters know."""
        try:
            self.journal.write([record])
            self._journal_failed = False
        except OSError as error:
            if not self._journal_failed:
                logger.warning(
                    "foldmon: the journal %s cannot be written (%s); values wait in memory",
                    self.journal.path, error,
                )  # fmt: skip
            self._journal_failed = True
        for delivery in self._deliveries:
            try:
                delivery.notify()
            except RuntimeError as error:
                # No thread can be started (a limit, or the interpreter is ending).
                logger.warning("foldmon: no delivery to the %s exporter: %s", delivery.exporter.name, error)

    @property
    def worked(self) -> float:
        """Seconds that the exporters have computed so far."""
        return sum(delivery.worked for delivery in self._deliveries)

    def flush(self, timeout: float) -> bool:
        """Wait until every exporter has everything; False where one has not within ``timeout`` seconds."""
        deadline = time.monotonic() + timeout
        flushed = [delivery.flush(deadline - time.monotonic()) for delivery in self._deliveries]
        return all(flushed) and not self.journal.waiting

    def close(self, timeout: float) -> None:
        """Deliver what is left, for at most ``timeout`` seconds in all; say what stays behind."""
        if self.journal.waiting:
            self._rescue()
        deadline = time.monotonic() + timeout
        for delivery in self._deliveries:
            delivery.stop()
        for delivery in self._deliveries:
            if not delivery.close(deadline - time.monotonic()):
                logger.warning(
                    "foldmon: not everything reached the %s exporter; all values are in %s",
                    delivery.exporter.name, self.journal.path,
                )  # fmt: skip
        self.journal.close()

    def abandon(self) -> None:
        """In a forked child: leave journal and exporters, and their locks, to the parent."""
        self._deliveries = []

    def _rescue(self) -> None:
        """Write what waits in memory: to the journal, or else to a temporary folder."""
        try:
            self.journal.flush()
        except OSError:
            rest = self.journal.waiting
            wished = self.journal.path
            try:
                self.journal.move_to_temporary()
                self.journal.flush()
            except OSError as error:
                logger.warning("foldmon: %d records are lost: they cannot be written (%s)", rest, error)
            else:
                logger.warning(
                    "foldmon: the last %d records did not fit into %s; they are in %s (append them, and "
                    "bring them to a backend with foldmon replay)",
                    rest, wished, self.journal.path,
                )  # fmt: skip

    def _move_journal(self, cause: OSError) -> None:
        wished = self.journal.path
        try:
            self.journal.move_to_temporary()
            self.journal.prepare()
        except OSError as error:
            logger.warning("foldmon: no journal can be written (%s); values wait in memory", error)
        else:
            logger.warning(
                "foldmon: the journal %s cannot be written (%s); it is kept in %s",
                wished, cause, self.journal.path,
            )  # fmt: skip


def _numbered(name: str, earlier: int) -> str:
    return f"{name}-{earlier + 1}" if earlier else name
