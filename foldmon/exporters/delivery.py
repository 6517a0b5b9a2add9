"""Delivery: one thread an exporter reads the journal with a cursor of its own and tries until it succeeds."""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Sequence
from pathlib import Path

from foldmon.exporters.base import Exporter, PermanentError
from foldmon.exporters.scalars import safe_name
from foldmon.journal.check import flaw
from foldmon.journal.following import read_from
from foldmon.journal.schema import Record
from foldmon.journal.writing import JSONLExporter

logger = logging.getLogger("foldmon")

_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0
_READ_AT_ONCE = 4 * 2**20  # bytes: a backend that was away for long gets its backlog in parts


class Delivery:
    """Carries journal records to one exporter, in order, at least once.

    The cursor (a byte offset into the journal, in a small file beside it) moves after success only, so
    that a backend that was away gets the missing values when it is back, also in a later process. Records
    that no exporter could read (a damaged journal) are skipped and named.

    Args:
        exporter: where to; its errors are logged once, and again when it recovers.
        journal: the queue.
        name: of the cursor, one's own among the deliveries of a journal; None takes the exporter's.
    """

    def __init__(self, exporter: Exporter, journal: JSONLExporter, name: str | None = None) -> None:
        self.exporter = exporter
        self.given_up = False
        self._journal = journal
        self._name = safe_name(name or exporter.name)
        self._offset = 0
        self._changed = threading.Condition()
        self._pending = False
        self._busy = False
        self._closing = False
        self._failing = False
        self._thread = threading.Thread(target=self._run, name=f"foldmon-{self._name}", daemon=True)
        self._started = False

    def notify(self) -> None:
        """There is something new in the journal."""
        with self._changed:
            self._pending = True
            self._changed.notify_all()
            if not self._started:
                self._offset = self._load_cursor()
                self._thread.start()
                self._started = True

    def flush(self, timeout: float) -> bool:
        """Wait until everything in the journal is delivered; False where it is not within ``timeout``."""
        with self._changed:
            self._changed.wait_for(lambda: self._idle() or self.given_up, timeout)
            return self._idle() and not self.given_up

    def stop(self) -> None:
        """Ask the thread to deliver what is left and to end."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()

    def close(self, timeout: float) -> bool:
        """Deliver what is left, for at most ``timeout`` seconds, and end the thread.

        Returns:
            False where something is left undelivered; it stays in the journal.
        """
        if not self._started:
            self._close_exporter()
            return not self._pending
        self.stop()
        self._thread.join(max(timeout, 0.0))
        # A thread that hangs in its backend is left behind: it is a daemon.
        return not self._thread.is_alive() and not self._failing and not self.given_up

    def _idle(self) -> bool:
        return not self._pending and not self._busy and not self._failing

    def _run(self) -> None:
        pause = _FIRST_PAUSE
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._pending or self._closing)
                closing, self._pending, self._busy = self._closing, False, True
            delivered = self._deliver()
            with self._changed:
                self._busy, self._failing = False, not delivered
                self._changed.notify_all()
                if self.given_up or closing:
                    break
                if not delivered:
                    # Woken early only to close: new records do not make a dead backend live.
                    self._changed.wait_for(lambda: self._closing, pause)
                    self._pending = True
            pause = _FIRST_PAUSE if delivered else min(2 * pause, _LONGEST_PAUSE)
        if not self._failing and not self.given_up:
            self._finish()
        self._close_exporter()

    def _finish(self) -> None:
        """Tell an exporter with a ``finish(journal path)`` that all is delivered."""
        finish = getattr(self.exporter, "finish", None)
        try:
            if finish is not None:
                finish(self._journal.path)
        except BaseException as error:
            logger.warning("foldmon: no report to the %s exporter: %s", self.exporter.name, error)

    def _deliver(self) -> bool:
        """Hand over all that is in the journal by now."""
        try:
            while self._deliver_part():
                pass
        except PermanentError as error:
            self.given_up = True
            logger.warning("foldmon: %s exporter given up: %s", self.exporter.name, error)
            return False
        except BaseException as error:
            # Whatever it is (a library that calls sys.exit, too): nobody else sees it in this thread.
            if not self._failing:
                logger.warning(
                    "foldmon: the %s exporter failed (%s: %s); the values are safe in %s and are "
                    "delivered when it works again",
                    self.exporter.name, type(error).__name__, error, self._journal.path,
                )  # fmt: skip
            return False
        if self._failing:
            logger.warning("foldmon: the %s exporter works again", self.exporter.name)
        return True

    def _deliver_part(self) -> bool:
        records, offset = read_from(self._journal.path, self._offset, _READ_AT_ONCE)
        if offset == self._offset:
            return False
        if sound := self._sound(records):
            self.exporter.write(sound)
        self._offset = offset
        self._save_cursor()
        return True

    def _sound(self, records: Sequence[Record]) -> list[Record]:
        causes = [flaw(record) for record in records]
        flawed = [cause for cause in causes if cause is not None]
        if flawed:
            logger.warning(
                "foldmon: %d records of %s are damaged and do not reach the %s exporter (the first: %s)",
                len(flawed), self._journal.path, self.exporter.name, flawed[0],
            )  # fmt: skip
        return [record for record, cause in zip(records, causes, strict=True) if cause is None]

    def _close_exporter(self) -> None:
        try:
            self.exporter.close()
        except BaseException as error:
            logger.warning("foldmon: closing the %s exporter failed: %s", self.exporter.name, error)

    @property
    def _cursor_path(self) -> Path:
        return self._journal.path.with_name(f".{self._journal.path.name}.{self._name}.cursor")

    def _load_cursor(self) -> int:
        try:
            offset = json.loads(self._cursor_path.read_bytes())["offset"]
            size = os.path.getsize(self._journal.path)
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return 0
        return offset if isinstance(offset, int) and 0 <= offset <= size else 0

    def _save_cursor(self) -> None:
        try:
            temporary = self._cursor_path.with_suffix(".new")
            temporary.write_text(json.dumps({"offset": self._offset}))
            temporary.replace(self._cursor_path)
        except OSError as error:
            # Only a later process would miss it, and deliver once more what is there already.
            logger.debug("foldmon: no cursor for %s: %s", self.exporter.name, error)
