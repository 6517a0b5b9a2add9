"""Delivery: one thread an exporter reads the journal with a cursor of its own and tries until it succeeds."""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from pathlib import Path

from foldmon.exporters.base import Exporter, PermanentError
from foldmon.exporters.journal import JSONLExporter, read_from

logger = logging.getLogger("foldmon")

_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0


class Delivery:
    """Carries journal records to one exporter, in order, at least once.

    The cursor (a byte offset into the journal, in a small file beside it) moves after success only, so
    that a backend that was away gets the missing values when it is back, also in a later process.

    Args:
        exporter: where to; its errors are logged once, and again when it recovers.
        journal: the queue.
    """

    def __init__(self, exporter: Exporter, journal: JSONLExporter) -> None:
        self.exporter = exporter
        self._journal = journal
        self._cursor_path: Path | None = None
        self._offset = 0
        self._changed = threading.Condition()
        self._notified = 0
        self._delivered = 0  # up to which notification everything has arrived
        self._closing = False
        self._failing = False
        self.given_up = False
        self._thread = threading.Thread(target=self._run, name=f"foldmon-{exporter.name}", daemon=True)
        self._started = False

    def notify(self) -> None:
        """There is something new in the journal."""
        with self._changed:
            self._notified += 1
            self._changed.notify_all()
            if not self._started:
                self._started = True
                self._offset = self._load_cursor()
                self._thread.start()

    def flush(self, timeout: float) -> bool:
        """Wait until everything in the journal is delivered; False where it is not within ``timeout``."""
        with self._changed:
            return self._changed.wait_for(lambda: self._idle() or self.given_up, timeout)

    def close(self, timeout: float) -> bool:
        """Deliver what is left, for at most ``timeout`` seconds, and end the thread.

        Returns:
            False where something is left undelivered; it stays in the journal.
        """
        if not self._started:
            self.exporter.close()
            return True
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(timeout)
        # A thread that hangs in its backend is left behind: it is a daemon.
        return not self._thread.is_alive() and not self._failing and not self.given_up

    def _idle(self) -> bool:
        return self._delivered == self._notified

    def _run(self) -> None:
        pause = _FIRST_PAUSE
        while True:
            with self._changed:
                self._changed.wait_for(lambda: not self._idle() or self._closing)
                closing, notified = self._closing, self._notified
            delivered = self._deliver()
            with self._changed:
                self._failing = not delivered
                if delivered:
                    self._delivered = notified
                self._changed.notify_all()
                if self.given_up or closing:
                    break
                if not delivered:
                    # Woken early only to close: new records do not make a dead backend live.
                    self._changed.wait_for(lambda: self._closing, pause)
            pause = _FIRST_PAUSE if delivered else min(2 * pause, _LONGEST_PAUSE)
        self._close_exporter()

    def _deliver(self) -> bool:
        records, offset = read_from(self._journal.path, self._offset)
        if not records:
            return True
        try:
            self.exporter.write(records)
        except PermanentError as error:
            self.given_up = True
            logger.warning("foldmon: %s exporter given up: %s", self.exporter.name, error)
            return False
        except Exception as error:
            if not self._failing:
                logger.warning(
                    "foldmon: the %s exporter failed (%s: %s); the values are safe in %s and are "
                    "delivered when it works again",
                    self.exporter.name, type(error).__name__, error, self._journal.path,
                )  # fmt: skip
            return False
        if self._failing:
            logger.warning("foldmon: the %s exporter works again", self.exporter.name)
        self._offset = offset
        self._save_cursor()
        return True

    def _close_exporter(self) -> None:
        try:
            self.exporter.close()
        except Exception as error:
            logger.warning("foldmon: closing the %s exporter failed: %s", self.exporter.name, error)

    def _load_cursor(self) -> int:
        self._cursor_path = self._journal.path.with_name(
            f".{self._journal.path.name}.{self.exporter.name}.cursor"
        )
        try:
            offset = int(json.loads(self._cursor_path.read_text())["offset"])
            return offset if 0 <= offset <= os.path.getsize(self._journal.path) else 0
        except (OSError, ValueError, KeyError, TypeError):
            return 0

    def _save_cursor(self) -> None:
        assert self._cursor_path is not None
        try:
            temporary = self._cursor_path.with_suffix(".new")
            temporary.write_text(json.dumps({"offset": self._offset, "time": time.time()}))
            temporary.replace(self._cursor_path)
        except OSError as error:
            # Only a later process would miss it, and deliver once more what is there already.
            logger.debug("foldmon: no cursor for %s: %s", self.exporter.name, error)
