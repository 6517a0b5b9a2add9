"""Delivery: one thread an exporter reads the journal with a cursor of its own and tries until it succeeds."""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

from foldmon.exporters.base import (
    Exporter,
    Finishing,
    Frugal,
    Losable,
    PermanentError,
    Recalling,
    Unhurried,
    WriteReport,
)
from foldmon.exporters.scalars import safe_name
from foldmon.journal.check import flaw
from foldmon.journal.following import Line, Tail
from foldmon.journal.schema import Record

logger = logging.getLogger("foldmon")

_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0
_WHILE_WAITED_FOR = 1.0  # seconds between two tries of a failing backend while flush() waits


class Delivery:
    """Carries journal records to one exporter, in order, at least once.

    The cursor (a byte offset into the journal, in a small file beside it) moves after success only, so
    that a backend that was away gets the missing values when it is back, also in a later process. Records
    that no exporter could read (a damaged journal) are skipped and named.

    Args:
        exporter: where to; its errors are logged once, and again when it recovers.
        journal: path of the queue.
        write_report: what an exporter that finishes may draw the run with.
        name: of the cursor, one's own among the deliveries of a journal; None takes the exporter's.
    """

    def __init__(
        self, exporter: Exporter, journal: Path, write_report: WriteReport, name: str | None = None
    ) -> None:
        self.exporter = exporter
        self.given_up = False
        self.worked = 0.0
        self._write_report = write_report
        self._name = safe_name(name or exporter.name)
        self._tail = Tail(journal, leave_out=exporter.unread if isinstance(exporter, Frugal) else None)
        self._apart = exporter.apart if isinstance(exporter, Unhurried) else 0.0
        self._recalled = False
        self._changed = threading.Condition()
        self._pending = False
        self._busy = False
        self._closing = False
        self._hurried = False
        self._failing = False
        self._thread = threading.Thread(target=self._run, name=f"foldmon-{self._name}", daemon=True)
        self._started = False

    def notify(self) -> None:
        """There is something new in the journal."""
        with self._changed:
            self._pending = True
            self._changed.notify_all()
            if not self._started:
                self._tail.offset = self._load_cursor()
                self._thread.start()
                self._started = True

    def flush(self, timeout: float) -> bool:
        """Wait until everything in the journal is delivered; False where it is not within ``timeout``.

        A backend that failed is tried again at once, and then once a second.
        """
        until = time.monotonic() + timeout
        with self._changed:
            while not self._idle() and not self.given_up and (left := until - time.monotonic()) > 0:
                self._hurry()
                self._changed.wait_for(lambda: self._idle() or self.given_up, min(left, _WHILE_WAITED_FOR))
            return self._idle() and not self.given_up

    def _hurry(self) -> None:
        self._hurried = True
        self._changed.notify_all()

    def follow(self, journal: Path) -> None:
        """The journal goes on at another place, with what it held as far as that could be kept."""
        with self._changed:
            self._tail.path = journal

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
            began = time.thread_time()
            delivered = self._deliver()
            self.worked += time.thread_time() - began
            with self._changed:
                self._busy, self._failing = False, not delivered
                self._changed.notify_all()
                if self.given_up or closing:
                    break
                # Woken early where someone waits: new records do not make a dead backend live.
                if rest := self._apart if delivered else pause:
                    self._changed.wait_for(lambda: self._closing or self._hurried, rest)
                self._pending = self._pending or not delivered
                self._hurried = False
            pause = _FIRST_PAUSE if delivered else min(2 * pause, _LONGEST_PAUSE)
        if not self._failing and not self.given_up:
            self._finish()
        self._close_exporter()

    def _finish(self) -> None:
        try:
            if isinstance(self.exporter, Finishing):
                self.exporter.finish(self._tail.path, self._write_report)
        except BaseException as error:
            logger.warning("foldmon: finishing the %s exporter failed: %s", self.exporter.name, error)

    def _deliver(self) -> bool:
        """Hand over all that is in the journal by now."""
        try:
            self._start_over_if_lost()
            self._recall()
            self._deliver_rest()
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
                    self.exporter.name, type(error).__name__, error, self._tail.path,
                )  # fmt: skip
            return False
        if self._failing:
            logger.warning("foldmon: the %s exporter works again", self.exporter.name)
        return True

    def _start_over_if_lost(self) -> None:
        if isinstance(self.exporter, Losable) and self.exporter.lost():
            logger.warning("foldmon: what the %s exporter wrote is gone; it begins anew", self.exporter.name)
            self._tail.offset = 0

    def _recall(self) -> None:
        if not self._recalled and self._tail.offset and isinstance(self.exporter, Recalling):
            self.exporter.recall(self._earlier(self._tail.offset))
        self._recalled = True

    def _earlier(self, behind: int) -> Iterator[Record]:
        """What lies before the cursor."""
        for line in chain.from_iterable(self._tail.again().parts()):
            if line.offset >= behind:
                return
            if flaw(line.record) is None:
                yield line.record

    def _deliver_rest(self) -> None:
        if not self._tail.offset and not self._tail.path.exists():
            return  # nothing could be written yet
        # In parts: a backend that was away for long has a long backlog.
        for lines in self._tail.parts():
            try:
                if sound := self._sound(lines):
                    self.exporter.write(sound)
            except BaseException:
                self._tail.offset = lines[0].offset
                raise
            self._save_cursor()

    def _sound(self, lines: Sequence[Line]) -> list[Record]:
        causes = [flaw(line.record) for line in lines]
        flawed = [cause for cause in causes if cause is not None]
        if flawed:
            logger.warning(
                "foldmon: %d records of %s are damaged and do not reach the %s exporter (the first: %s)",
                len(flawed), self._tail.path, self.exporter.name, flawed[0],
            )  # fmt: skip
        return [line.record for line, cause in zip(lines, causes, strict=True) if cause is None]

    def _close_exporter(self) -> None:
        try:
            self.exporter.close()
        except BaseException as error:
            logger.warning("foldmon: closing the %s exporter failed: %s", self.exporter.name, error)

    @property
    def _cursor_path(self) -> Path:
        return self._tail.path.with_name(f".{self._tail.path.name}.{self._name}.cursor")

    def _load_cursor(self) -> int:
        try:
            offset = json.loads(self._cursor_path.read_bytes())["offset"]
            size = os.path.getsize(self._tail.path)
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return 0
        return offset if isinstance(offset, int) and 0 <= offset <= size else 0

    def _save_cursor(self) -> None:
        try:
            temporary = self._cursor_path.with_suffix(".new")
            temporary.write_text(json.dumps({"offset": self._tail.offset}))
            temporary.replace(self._cursor_path)
        except OSError as error:
            # Only a later process would miss it, and deliver once more what is there already.
            logger.debug("foldmon: no cursor for %s: %s", self.exporter.name, error)
