"""The background thread: one job at a time, none queued."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

import torch

from foldmon.folding.model.giving_up import GivenUp, may_be_given_up

_AT_EXIT = 1.0  # seconds that a process waits at its end for the probe under way
_LONG = 3.0  # seconds of waiting that are worth a word
_TO_GIVE_UP = 30.0  # seconds that a job may take to end after it was given up: one torch function

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
        self._unwanted = False
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
            self._job, self._busy, self._unwanted = job, True, False
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

    def finish(self, timeout: float) -> bool:
        """Wait for the job under way, then give it up; at the end of the process soon.

        Daemon threads that are inside of torch when the interpreter ends abort the process.

        Args:
            timeout: seconds to wait before.

        Returns:
            Whether the job ended on its own.
        """
        began = time.perf_counter()
        told = False
        while not self.wait(0.05):
            waited = time.perf_counter() - began
            if waited > timeout or (waited > _AT_EXIT and not threading.main_thread().is_alive()):
                self._unwanted = True
                self.wait(_TO_GIVE_UP)
                return False
            if waited > _LONG and not told:
                told = True
                logger.warning("foldmon: waiting for the probe under way, for at most %.0f s", timeout)
        return True

    def close(self) -> bool:
        """End the thread; False where a job keeps it."""
        finished = self.wait(0.0)
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if finished and self._thread is not None:
            self._thread.join()
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
                with may_be_given_up(lambda: self._unwanted):
                    job()
            except GivenUp:
                logger.info("foldmon: the probe under way was given up")
            except BaseException:
                # sys.exit in a model's forward, say: this thread must live on, others wait for it.
                logger.exception("foldmon: a probe failed; training goes on")
            finally:
                del job
                with self._changed:
                    self._busy = False
                    self._changed.notify_all()
