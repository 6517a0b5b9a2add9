"""What walks along paths have in common: their events, their bound and their resolution in t."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod

import numpy as np
import torch

from foldmon.folding.exact.events import Events
from foldmon.folding.exact.trace import Trace
from foldmon.folding.results.statistics import Ints

KEPT_BYTES = 256 * 2**20
"""Memory for the values of kept points that a walk tries to stay within."""


class Walk(ABC):
    """Finds the events of paths, a block of paths at a time.

    Args:
        trace: evaluates the points.
        max_evaluations: bound of ``trace.prober.evaluations``, None for none.

    Attributes:
        parts: events found so far, of sites up to the last measured one.
        unfinished: paths that the bound left with interpolated events.
        quantum: spacing of the positions t.
    """

    def __init__(self, trace: Trace, max_evaluations: int | None) -> None:
        self.trace, self.max_evaluations = trace, max_evaluations
        self.quantum = quantum(trace.prober.dtype)
        self.parts: list[Events] = []
        self.unfinished: set[int] = set()
        self._reserved = 0  # evaluations kept for the ends of the paths to come

    @property
    def rows_a_path(self) -> int:
        """Rows that a path is likely to keep at a time."""
        return 16

    @abstractmethod
    def run(self, paths: Ints) -> None:
        """Find the events of the given paths."""

    def run_all(self, paths: Ints, at_once: int | None = None) -> None:
        """Find the events of all given paths, ``at_once`` or as many at once as memory allows."""
        most = at_once or len(paths)
        while len(paths):
            size = self.trace.bytes_a_row * self.rows_a_path
            count = min(most, max(1, KEPT_BYTES // size))
            block, paths = paths[:count], paths[count:]
            self._reserved = 2 * len(paths)
            self.run(block)

    @property
    def left(self) -> int:
        """Evaluations that the bound leaves for the paths begun."""
        if self.max_evaluations is None:
            return sys.maxsize
        return max(0, self.max_evaluations - self.trace.prober.evaluations - self._reserved)

    def allowed(self, owner: Ints) -> int:
        """How many new points the bound allows, all those of an owner or none.

        Args:
            owner: shape (R,), ascending, what each point belongs to.
        """
        left = self.left
        return len(owner) if len(owner) <= left else int(np.searchsorted(owner, owner[left]))

    def release(self, rows: Ints) -> None:
        """Give up one use of each row; -1 stands for none."""
        rows = rows.reshape(-1)
        self.trace.release(rows[rows >= 0])


def quantum(dtype: torch.dtype) -> float:
    """Spacing of the positions t that are evaluated: each is a number of ``dtype``."""
    return 2.0**-45 if dtype == torch.float64 else 2.0**-24
