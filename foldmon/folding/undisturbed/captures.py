"""Graphs being captured: while one is, in any thread, nothing of foldmon's runs on a device.

CUDA forbids, while any thread captures a graph, what a probe does (allocating, waiting for a stream): the
error would be the capture's, so training's. Torch tells a thread only of captures of its own, so the
two methods that begin and end one are wrapped, once for the process, as soon as a model on a device is
watched. What a probe has launched before runs on.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from foldmon.folding.undisturbed.accelerator import module_of

_PATIENCE = 60.0  # seconds after which a capture is taken for one that never ended


class Gate:
    """Lets either captures run or probes, never both; a probe gives way from one pass to the next.

    Example:
        >>> gate = Gate()
        >>> with gate.working():
        ...     gate.give_way()
        >>> gate.begin_capture(), gate.end_capture()
        (None, None)
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._working: set[int] = set()
        self._captures = self._waiting = 0

    @contextmanager
    def working(self) -> Iterator[None]:
        """What is launched in this block runs while nothing is captured.

        Raises:
            RuntimeError: a capture does not end.
        """
        self._enter()
        try:
            yield
        finally:
            self._leave()

    def give_way(self) -> None:
        """Between two passes of a probe: let a capture that waits go first."""
        if self._waiting and threading.get_ident() in self._working:
            self._leave()
            self._enter()

    def begin_capture(self) -> None:
        """In the thread that captures: wait until the probe's pass has ended."""
        own = threading.get_ident()
        with self._changed:
            self._waiting += 1
            # One that a model captures inside our own pass waits for nothing.
            self._changed.wait_for(lambda: not self._working - {own}, _PATIENCE)
            self._waiting -= 1
            self._captures += 1

    def end_capture(self) -> None:
        """Probes may go on."""
        with self._changed:
            self._captures = max(0, self._captures - 1)
            self._changed.notify_all()

    def _enter(self) -> None:
        with self._changed:
            free = self._changed.wait_for(lambda: not self._captures and not self._waiting, _PATIENCE)
            if not free:
                raise RuntimeError("a graph is being captured and its capture does not end")
            self._working.add(threading.get_ident())

    def _leave(self) -> None:
        with self._changed:
            self._working.discard(threading.get_ident())
            self._changed.notify_all()


GATE = Gate()
"""Of this process."""


def heed_captures(kind: str) -> None:
    """Let captures of graphs on a type of device ask :data:`GATE`, from now on."""
    owners = (module_of(kind), getattr(torch, "accelerator", None))
    for owner, name in zip(owners, (f"{kind.upper()}Graph", "Graph"), strict=True):
        graph = getattr(owner, name, None)
        if isinstance(graph, type):
            _wrap(graph)


@functools.cache
def _wrap(graph: Any) -> None:
    begin: Callable[..., Any] = graph.capture_begin
    end: Callable[..., Any] = graph.capture_end

    @functools.wraps(begin)
    def capture_begin(self: Any, *args: Any, **kwargs: Any) -> Any:
        GATE.begin_capture()
        try:
            return begin(self, *args, **kwargs)
        except BaseException:
            GATE.end_capture()
            raise

    @functools.wraps(end)
    def capture_end(self: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return end(self, *args, **kwargs)
        finally:
            GATE.end_capture()

    graph.capture_begin, graph.capture_end = capture_begin, capture_end
