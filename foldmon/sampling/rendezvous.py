"""Meeting other ranks without waiting long: through the run's key-value store, which training does not use.

A collective that one rank leaves out blocks the others, or breaks their group for good. Here the ranks agree
first: they all come within some seconds, or all of them learn that not all came.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

_PAUSE, _LONGEST_PAUSE = 0.0002, 0.02  # seconds between two looks at the store, at first and at last
_WORTH_A_WORD = 2.0  # seconds of waiting


class Rendezvous:
    """A place where ranks meet, again and again.

    Args:
        store: that all of them reach, a torch.distributed.Store; its prefix is this place's own.
        rank: of this process.
        ranks: all that meet.

    Attributes:
        absent: those that were missing when the latest meeting failed.
        left: those that will not come any more.

    Raises:
        RuntimeError: by all methods, where the store itself is gone.

    Example:
        >>> from torch.distributed import HashStore
        >>> place = Rendezvous(HashStore(), rank=0, ranks=[0, 1])
        >>> place.meet(patience=0.01), place.absent
        (False, [1])
    """

    def __init__(self, store: Any, rank: int, ranks: Sequence[int]) -> None:
        self._store, self._rank, self._ranks = store, rank, list(ranks)
        self._meetings = 0
        self.absent: list[int] = []
        self.left: list[int] = []

    def meet(self, patience: float, tell: Callable[[list[int]], object] | None = None) -> bool:
        """Wait until all ranks are here; False, on all of them alike, where they were not in time.

        Args:
            patience: most seconds that this rank waits.
            tell: called with the missing ranks after two seconds, on the first of those that are here.
        """
        self._meetings += 1
        self._name, store = f"meeting {self._meetings}", self._store
        store.set(f"{self._name} {self._rank}", "here")
        if store.add(f"{self._name} here", 1) == len(self._ranks):
            self._decide("go")
        began, pause = time.monotonic(), _PAUSE
        while not store.check([f"{self._name} word"]):
            waited = time.monotonic() - began
            if waited > patience or self._some_left():
                self._decide("skip")
                break
            if tell is not None and waited > _WORTH_A_WORD:
                self._tell(tell)
                tell = None
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
        went: bool = store.get(f"{self._name} word") == b"go"
        self.absent = [] if went else self._missing()
        return went

    def _missing(self) -> list[int]:
        return [rank for rank in self._ranks if not self._store.check([f"{self._name} {rank}"])]

    def _tell(self, tell: Callable[[list[int]], object]) -> None:
        missing = self._missing()
        here = [rank for rank in self._ranks if rank not in missing]
        if missing and here[0] == self._rank:
            tell(missing)

    def leave(self) -> None:
        """Tell the others not to wait for this rank any more."""
        self._store.set(f"left {self._rank}", "left")
        self._store.set("left", "some")

    def _decide(self, word: str) -> None:
        # The first word counts: one rank's patience may end while the last of the others comes.
        self._store.compare_set(f"{self._name} word", "", word)

    def _some_left(self) -> bool:
        if self._store.check(["left"]):
            self.left = [rank for rank in self._ranks if self._store.check([f"left {rank}"])]
        return bool(self.left)
