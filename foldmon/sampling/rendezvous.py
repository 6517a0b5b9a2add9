"""Meeting other ranks without waiting long: through the run's key-value store, which training does not use.

A collective that one rank leaves out blocks the others, or breaks their group for good. Here the ranks agree
first: they all come within some seconds, or all of them learn that not all came.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

_PAUSE, _LONGEST_PAUSE = 0.0002, 0.02  # seconds between two looks at the store, at first and at last


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

    def meet(self, patience: float) -> bool:
        """Wait until all ranks are here; False, on all of them alike, where they were not in time.

        Args:
            patience: most seconds that this rank waits.
        """
        self._meetings += 1
        name, store = f"meeting {self._meetings}", self._store
        store.set(f"{name} {self._rank}", "here")
        if store.add(f"{name} here", 1) == len(self._ranks):
            self._decide(name, "go")
        end, pause = time.monotonic() + patience, _PAUSE
        while not store.check([f"{name} word"]):
            if time.monotonic() > end or self._some_left():
                self._decide(name, "skip")
                break
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
        went: bool = store.get(f"{name} word") == b"go"
        self.absent = [] if went else [r for r in self._ranks if not store.check([f"{name} {r}"])]
        return went

    def leave(self) -> None:
        """Tell the others not to wait for this rank any more."""
        self._store.set(f"left {self._rank}", "left")
        self._store.set("left", "some")

    def _decide(self, name: str, word: str) -> None:
        # The first word counts: one rank's patience may end while the last of the others comes.
        self._store.compare_set(f"{name} word", "", word)

    def _some_left(self) -> bool:
        if self._store.check(["left"]):
            self.left = [rank for rank in self._ranks if self._store.check([f"left {rank}"])]
        return bool(self.left)
