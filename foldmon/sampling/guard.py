"""The guard: no error of a probe reaches training, each is reported once, and failing probes get rare."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable

logger = logging.getLogger("foldmon")

_LONGEST_PAUSE = 600.0  # seconds without probes after repeated failures


class Guard:
    """Runs the monitor's own work and takes what it raises.

    Args:
        final: kinds of errors after which no probe can succeed any more.

    Attributes:
        failures: errors in a row.
        resume_at: when the next probe may be tried, on the clock of ``time.perf_counter``, in seconds.
        ended: whether a final error was met.

    Example:
        >>> guard = Guard(ConnectionError)
        >>> guard.run(lambda: None), guard.run(lambda: [].pop()), guard.failures
        (True, False, 1)
    """

    def __init__(self, *final: type[Exception]) -> None:
        self.failures = 0
        self.resume_at = 0.0
        self.ended = False
        self._final = final
        self._told: set[object] = set()

    def attempt(self, probe: Callable[[], object]) -> None:
        """Run a probe; one that succeeds ends a row of failures."""
        if self.run(probe):
            self.failures = 0

    def run(self, work: Callable[[], object]) -> bool:
        """Do it; True where it raised nothing."""
        try:
            work()
        except self._final as error:
            self.ended, self.resume_at = True, math.inf
            self._tell(self._final, "foldmon: no more probes: %s", error)
            return False
        except (Exception, SystemExit) as error:  # sys.exit in a model's forward, say
            self.failures += 1
            pause = min(2.0 ** min(self.failures, 30), _LONGEST_PAUSE)  # a float's powers end
            self.resume_at = time.perf_counter() + pause
            # Texts may differ from time to time (bytes of memory, addresses): the place does not.
            self._tell(
                _place_of(error),
                "foldmon: a probe failed (%s: %s); training goes on, and so does measuring where it "
                "can (the next probe comes in %.0f s or later)",
                type(error).__name__,
                error,
                pause,
            )
            return False
        return True

    def _tell(self, once: object, text: str, *args: object) -> None:
        if once not in self._told:
            self._told.add(once)
            logger.warning(text, *args, exc_info=logger.isEnabledFor(logging.DEBUG))


def _place_of(error: BaseException) -> object:
    """Where an error was raised, to recognise it again."""
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    code = None if last is None else (last.tb_frame.f_code.co_filename, last.tb_lineno)
    return type(error), code
