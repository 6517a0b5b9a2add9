"""The output of a monitor: the journal first, then a delivery for each exporter."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from foldmon.exporters.base import Exporter, Record
from foldmon.exporters.delivery import Delivery
from foldmon.exporters.journal import JSONLExporter

logger = logging.getLogger("foldmon")


class Output:
    """Writes records into the journal and wakes the deliveries. It never raises.

    Args:
        journal: where every record goes first; where its place cannot be written, a temporary folder
            takes over, with one warning.
        exporters: what reads the journal, each in a thread of its own.
    """

    def __init__(self, journal: JSONLExporter, exporters: Sequence[Exporter]) -> None:
        self.journal = journal
        try:
            journal.prepare()
        except OSError as error:
            wished = journal.path
            journal.move_to_temporary()
            logger.warning(
                "foldmon: the journal %s cannot be written (%s); it is kept in %s",
                wished, error, journal.path,
            )  # fmt: skip
        self._deliveries = [Delivery(exporter, journal) for exporter in exporters]
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
            delivery.notify()

    def flush(self, timeout: float) -> bool:
        """Wait until every exporter has everything; False where one has not within ``timeout`` seconds."""
        flushed = [delivery.flush(timeout) for delivery in self._deliveries]
        return all(flushed)

    def close(self, timeout: float) -> None:
        """Deliver what is left for at most ``timeout`` seconds an exporter; say what stays behind."""
        for delivery in self._deliveries:
            if not delivery.close(timeout):
                logger.warning(
                    "foldmon: not everything reached the %s exporter; all values are in %s",
                    delivery.exporter.name, self.journal.path,
                )  # fmt: skip
        self.journal.close()
