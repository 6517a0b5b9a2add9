"""The output of a monitor: the journal first, then a delivery for each exporter."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

from foldmon.exporters.base import Exporter, WriteReport
from foldmon.exporters.delivery import Delivery
from foldmon.exporters.tensorboard import TensorBoardExporter
from foldmon.journal.finding import places_beside
from foldmon.journal.schema import Record
from foldmon.journal.writing import JSONLExporter, TakenError

logger = logging.getLogger("foldmon")


class Output:
    """Writes records into the journal and wakes the deliveries. It never raises.

    Args:
        journal: where every record goes first. Where its place cannot be written, a temporary folder takes
            over; where another monitor writes there, a place beside it. Either is said once.
        exporters: what reads the journal, each in a thread of its own.
        write_report: what an exporter that finishes may draw the run with: nothing here draws.
    """

    def __init__(
        self, journal: JSONLExporter, exporters: Sequence[Exporter], write_report: WriteReport
    ) -> None:
        self.journal = journal
        self._deliveries: list[Delivery] = []
        try:
            journal.prepare()
        except TakenError:
            self._make_way(exporters)
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
        self._write_journal([record])
        self._notify()

    def _notify(self) -> None:
        for delivery in self._deliveries:
            try:
                delivery.notify()
            except RuntimeError as error:
                # No thread can be started (a limit, or the interpreter is ending).
                logger.warning("foldmon: no delivery to the %s exporter: %s", delivery.exporter.name, error)

    def _write_journal(self, records: Sequence[Record]) -> bool:
        """Whether all that was ever to be written is in the journal."""
        comebacks = self.journal.comebacks
        try:
            self.journal.write(records)
        except TakenError:
            self._make_way([delivery.exporter for delivery in self._deliveries])
        except OSError as error:
            if not self._journal_failed:
                logger.warning(
                    "foldmon: the journal %s cannot be written (%s); values wait in memory",
                    self.journal.path, error,
                )  # fmt: skip
            self._journal_failed = True
            return False
        except Exception as error:
            logger.warning("foldmon: a record is left out of the journal: %s", error)
        self._journal_failed = False
        if self.journal.comebacks != comebacks:
            self._notify()  # what else lay there may be gone, too
        return not self.journal.waiting

    @property
    def worked(self) -> float:
        """Seconds that the exporters have computed so far."""
        return sum(delivery.worked for delivery in self._deliveries)

    def flush(self, timeout: float) -> bool:
        """Wait until journal and exporters have everything; False where not within ``timeout`` seconds."""
        deadline = time.monotonic() + timeout
        whole = self._write_journal([])
        flushed = [delivery.flush(deadline - time.monotonic()) for delivery in self._deliveries]
        return all(flushed) and whole

    def close(self, timeout: float) -> None:
        """Deliver what is left, for at most ``timeout`` seconds in all; say what stays behind."""
        if not self._write_journal([]):
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
        """Write what waits in memory to a temporary folder, behind what the journal held."""
        rest, wished = self.journal.waiting, self.journal.path
        try:
            self._to_temporary()
            self.journal.flush()
        except OSError as error:
            logger.warning("foldmon: %d records are lost: they cannot be written (%s)", rest, error)
        else:
            self._notify()
            logger.warning(
                "foldmon: the last %d records did not fit into %s; the whole journal is %s",
                rest, wished, self.journal.path,
            )  # fmt: skip

    def _move_journal(self, cause: OSError) -> None:
        wished = self.journal.path
        try:
            self._to_temporary()
        except OSError as error:
            logger.warning("foldmon: no journal can be written (%s); values wait in memory", error)
        else:
            logger.warning(
                "foldmon: the journal %s cannot be written (%s); it is kept in %s",
                wished, cause, self.journal.path,
            )  # fmt: skip

    def _to_temporary(self) -> None:
        self.journal.move_to_temporary()
        self._follow()

    def _make_way(self, exporters: Sequence[Exporter]) -> None:
        """Another monitor has the journal: take a place beside it, for TensorBoard's events too."""
        wished = self.journal.path
        for path in places_beside(wished):
            try:
                self.journal.move(path)
            except TakenError:
                continue
            except OSError as error:
                self._move_journal(error)
                return
            break
        for exporter in exporters:
            if isinstance(exporter, TensorBoardExporter) and exporter.folder == wished.parent:
                exporter.move(path.parent)
        self._follow()
        logger.warning(
            "foldmon: another monitor writes to %s; this one's values go to %s. A log_dir of its own gives "
            "each run a name of its own",
            wished, path,
        )  # fmt: skip

    def _follow(self) -> None:
        for delivery in self._deliveries:
            delivery.follow(self.journal.path)


def _numbered(name: str, earlier: int) -> str:
    return f"{name}-{earlier + 1}" if earlier else name
