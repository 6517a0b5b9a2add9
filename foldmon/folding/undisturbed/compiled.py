"""What becomes of functions under ``torch.compile`` while a model is measured."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch

from foldmon.torch_internals import may_have_compiled


@contextmanager
def compiled_functions(stance: Literal["force_eager", "fail_on_recompile"]) -> Iterator[None]:
    """What becomes of functions and methods under ``torch.compile`` in the block; modules run eagerly anyway.

    Left alone, they would be compiled anew for the hooks of every probe, up to the limit from which on
    training runs them uncompiled. The stance is the whole process's: use it in the user's own thread only,
    never in a sampler's; and ``fail_on_recompile``, which would be another thread's error, only where no
    other is at work.
    """
    if not may_have_compiled():
        yield  # nothing can have been compiled
    elif stance == "force_eager":
        with _EAGER.shared():
            yield
    else:
        with torch.compiler.set_stance(stance):
            yield


class _Eager:
    """The stance under which nothing is compiled, from the first thread that asks for it to the last.

    Each would put back what it found: of two that overlap, the second would leave behind what the first set.
    """

    def __init__(self) -> None:
        self._lock, self._within = threading.Lock(), 0
        self._stance: Any = None

    @contextmanager
    def shared(self) -> Iterator[None]:
        with self._lock:
            self._within += 1
            if self._within == 1:
                self._stance = torch.compiler.set_stance("force_eager")
                self._stance.__enter__()
        try:
            yield
        finally:
            with self._lock:
                self._within -= 1
                if self._within == 0:
                    self._stance.__exit__(None, None, None)


_EAGER = _Eager()
