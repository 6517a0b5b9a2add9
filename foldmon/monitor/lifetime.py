"""How long a monitor lives: as long as its model, and no longer than the process."""

from __future__ import annotations

import atexit
import contextlib
import functools
import logging
import os
import sys
import threading
import weakref

from torch import nn

from foldmon.folding.model.unwrap import unwrap
from foldmon.monitor.protocol import Monitor
from foldmon.sampling.watched import Watched

logger = logging.getLogger("foldmon")

_QUICK = 2.0  # seconds that a process may wait at its end for a last measurement

# A monitor stays open as long as its model lives, also where the user keeps no reference to it.
_latest: weakref.WeakKeyDictionary[nn.Module, Monitor] = weakref.WeakKeyDictionary()
_open: set[Monitor] = set()


def close_earlier(model: nn.Module) -> None:
    """Close the monitor that watches the model already."""
    earlier = _latest.get(unwrap(model))
    if earlier is not None and not earlier.closed:
        logger.warning("foldmon: the model was watched already; the earlier monitor is closed")
        _close(earlier)


def keep_open(model: nn.Module, monitor: Monitor) -> None:
    """Keep the monitor until its model goes, or the process ends."""
    _handle_exit_and_fork()
    _latest[unwrap(model)] = monitor
    _open.difference_update([other for other in _open if other.closed])
    _open.add(monitor)
    Watched(model).when_gone(functools.partial(_orphaned, weakref.ref(monitor)))


def open_monitors() -> list[Monitor]:
    """Those that are not closed yet."""
    return [monitor for monitor in _open if not monitor.closed]


def _orphaned(reference: weakref.ref[Monitor]) -> None:
    """The model is gone: deliver what is left, in a thread that the end of the process waits for."""
    monitor = reference()
    if monitor is not None and not monitor.closed:
        threading.Thread(target=_close, args=(monitor,), name="foldmon-close").start()


def _close(monitor: Monitor, last: float = 0.0) -> None:
    monitor.close(last=last)
    _open.discard(monitor)


@functools.cache
def _handle_exit_and_fork() -> None:
    """Once a process, from its first monitor on."""
    atexit.register(_at_exit)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_abandon_all)


def close_all() -> None:
    """Close every monitor of this process."""
    for monitor in list(_open):
        _close(monitor)


def _at_exit() -> None:
    """Measure the end of a run, where that is quick and no error ended the process."""
    failed = getattr(sys, "last_value", None) is not None
    for monitor in list(_open):
        _close(monitor, last=0.0 if failed else _QUICK)
    if getattr(sys, "last_type", None) is KeyboardInterrupt:
        # A program that was interrupted ends by the signal's own status, unless text was run since (an import
        # may do that): Python remembers how the latest one ended.
        with contextlib.suppress(KeyboardInterrupt):
            exec("raise KeyboardInterrupt")


def _abandon_all() -> None:
    # Threads and locks of the parent mean nothing in a forked child (a DataLoader's worker, say).
    for monitor in list(_open):
        monitor.abandon()
    _open.clear()
    _latest.clear()
