"""What was measured at attach: it belongs to the run only if training begins without a loaded state."""

from __future__ import annotations

import threading
from collections.abc import Callable

from foldmon.journal.schema import Record


class FirstRecord:
    """Holds records back until training begins, or takes them back where a saved run goes on.

    A resumed run stands far beyond step 0, where it would otherwise write once more.

    Args:
        write: where records go.
    """

    def __init__(self, write: Callable[[Record], None]) -> None:
        self._send = write
        self._lock = threading.Lock()
        self._holding = True
        self._held: Record | None = None

    def write(self, record: Record) -> None:
        """Pass the record on, or hold it while training has not begun."""
        with self._lock:
            if self._holding:
                self._held = record
                return
        self._send(record)

    def release(self) -> None:
        """Training begins: what is held is written, and nothing is held any more."""
        if self._holding:
            record = self._end()
            if record is not None:
                self._send(record)

    def take_back(self) -> bool:
        """A saved run goes on: forget what is held; False where training began before."""
        if not self._holding:
            return False
        self._end()
        return True

    def _end(self) -> Record | None:
        with self._lock:
            self._holding = False
            record, self._held = self._held, None
        return record
