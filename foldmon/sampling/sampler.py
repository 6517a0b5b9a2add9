"""The background thread: one job at a time, none queued."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

import torch

logger = logging.getLogger("foldmon")


class Sampler:
    """Runs the jobs it is offered in a daemon thread of its own.

    The thread starts with the first job, so that a process that only attaches has none (and forks
    freely). A job must handle its own errors; what escapes is logged and ends the job, not the thread.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._job: Callable[[], None] | None = None
        self._busy = False
        self._closed = False
        self._thread: threading.Thread | None = None

    @property
    def busy(self) -> bool:
        """Whether a job is waiting or running."""
        return self._busy

    def offer(self, job: Callable[[], None]) -> bool:
        """Run the job soon; False where another one is not done yet or the sampler is closed."""
        with self._changed:
            if self._busy or self._closed:
                return False
            self._job, self._busy = job, True
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="foldmon-sampler", daemon=True)
                self._thread.start()
            self._changed.notify_all()
            return True

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until no job is under way; False where ``timeout`` seconds were not enough."""
        if threading.current_thread() is self._thread:
            return False
        with self._changed:
            return self._changed.wait_for(lambda: not self._busy, timeout)

    def close(self, timeout: float | None = None) -> bool:
        """Finish the job under way and end the thread; False where it did not end in time."""
        finished = self.wait(timeout)
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if finished and self._thread is not None:
            self._thread.join(timeout)
        return finished

    def _run(self) -> None:
        # Threads share one cache of autocast's casts, and leaving an outermost autocast block (some models
        # have one in their forward) clears it under training's hands. In this thread no block is outermost.
        torch.autocast_increment_nesting()
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._job is not None or self._closed)
                job, self._job = self._job, None
                if job is None:
                    return
            try:
                job()
            except BaseException:
                # sys.exit in a model's forward, say: this thread must live on, others wait for it.
                logger.exception("foldmon: a probe failed; training goes on")
            finally:
                del job
                with self._changed:
                    self._busy = False
                    self._changed.notify_all()
