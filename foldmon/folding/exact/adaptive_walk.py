"""Adaptive folding of networks that curve the path: refine where the codes are not as expected."""

from __future__ import annotations

import sys

import numpy as np

from foldmon.folding.exact.events import Events
from foldmon.folding.exact.trace import Trace
from foldmon.folding.exact.walk import Walk
from foldmon.folding.results.statistics import Ints


class AdaptiveWalk(Walk):
    """Refines some paths until interpolation tells their codes.

    Each path begins in ``pieces`` pieces. A piece is halved, and its halves are looked at again, where a
    symbol in its middle is not the one that a straight line between its ends gives, or where the codes of
    its ends differ in more than one symbol; where ``max_evaluations`` does not pay for all, the pieces with
    most such symbols come first. Then, unless it was reached,

    - guaranteed: at every point that was evaluated the symbols are the model's, but for rounding;
      neighbouring points differ in at most one symbol, or lie at most ``least`` apart in t. So r2 is at least
      the distance walked over the evaluated points, and a lower bound of the path's own; so is r1 where all
      neighbours differ in at most one symbol (else the order of changes ``least`` apart is interpolated);
    - not guaranteed: that a unit that has one symbol at two neighbouring points keeps it between them. What
      is missed so is an even number of changes of one unit.

    Args:
        trace: evaluates the points.
        max_evaluations: bound of ``trace.prober.evaluations``, None for none.
        pieces: at the beginning, at least 1.
        least: width in t below which no piece is halved.
    """

    def __init__(
        self,
        trace: Trace,
        max_evaluations: int | None,
        *,
        pieces: int = 8,
        least: float = 2.0**-12,
    ) -> None:
        super().__init__(trace, max_evaluations)
        self.pieces, self.least = pieces, least

    @property
    def rows_a_path(self) -> int:
        """Rows that a path is likely to keep at a time."""
        return 4 * self.pieces

    def run(self, paths: Ints) -> None:
        """Walk the given paths."""
        pieces = self._first_pieces(paths)
        while len(pieces):
            pieces = self._refined(self._affordable(pieces))

    def _affordable(self, pieces: Ints) -> Ints:
        """The pieces to look into, as many as the bound allows; the others are done."""
        begin, end = self.trace.t[pieces[:, 1]], self.trace.t[pieces[:, 2]]
        wide = np.flatnonzero(end - begin > self.least)
        wide = wide[np.argsort(-pieces[wide, 3], kind="stable")]
        self.unfinished |= set(pieces[wide[self.left :], 0].tolist())
        wide = wide[: self.left]
        self._finish(np.delete(pieces, wide, axis=0))
        return pieces[wide]

    def _first_pieces(self, paths: Ints) -> Ints:
        count = len(paths)
        pieces = max(1, min(self.pieces, self.left // count - 1))
        uses = np.tile([1, *[2] * (pieces - 1), 1], count)
        t = np.tile(np.linspace(0, 1, pieces + 1), count)
        rows = self.trace.evaluate(np.repeat(paths, pieces + 1), t, uses).reshape(count, -1)
        owner = np.repeat(paths, pieces)
        # Columns: path, left row, right row, number of symbols that ask for a closer look.
        left, right = rows[:, :-1].reshape(-1), rows[:, 1:].reshape(-1)
        return np.stack([owner, left, right, np.full(len(owner), sys.maxsize)], axis=1)

    def _refined(self, pieces: Ints) -> Ints:
        """The halves that have to be looked into; the others are done."""
        path, left, right, _ = pieces.T
        t = (self.trace.t[left] + self.trace.t[right]) / 2
        middle = self.trace.evaluate(path, t, uses=2)
        surprises = self.trace.surprises(left, middle, right)
        halves = []
        for start, end in ((left, middle), (middle, right)):
            symbols = np.maximum(surprises, self.trace.differing(start, end) - 1)
            halves.append(np.stack([path, start, end, symbols], axis=1))
        both = np.concatenate(halves)
        self._finish(both[both[:, 3] == 0])
        left_over: Ints = both[both[:, 3] > 0]
        return left_over

    def _finish(self, pieces: Ints) -> None:
        """Read off the events of pieces that are fine enough, and give up their ends."""
        if len(pieces) == 0:
            return
        path, left, right, _ = pieces.T
        for place, stage in self.trace.measured:
            found = self.trace.crossings(place, path, left, right, self.quantum)
            begin, end = self.trace.t[left[found.segment]], self.trace.t[right[found.segment]]
            t = begin + found.share * (end - begin)
            site = np.full(len(t), stage.site)
            self.parts.append(Events(path[found.segment], t, site, found.unit, found.step))
        self.release(pieces[:, 1:3])
