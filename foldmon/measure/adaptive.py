"""Adaptive folding of networks that curve the path: refine where the codes are not as expected."""

from __future__ import annotations

import numpy as np

from foldmon.measure.events import Events
from foldmon.measure.levels import Levels
from foldmon.measure.statistics import Ints
from foldmon.measure.walks import Walk


class AdaptiveWalk(Walk):
    """Refines some paths until interpolation tells their codes.

    Each path begins in ``pieces`` pieces. A piece is halved, and its halves are looked at again, where a
    symbol in its middle is not the one that a straight line between its ends gives, or (``isolate``) where
    the codes of its ends differ in more than one symbol. Then, unless ``max_evaluations`` was reached,

    - guaranteed: at every point that was evaluated the symbols are the model's; neighbouring points
      differ in at most one symbol (``isolate``), or lie at most ``least`` apart in t;
    - not guaranteed: that a unit that has one symbol at two neighbouring points keeps it between them.
      What is missed so is an even number of flips of one unit: r2 is a lower bound, r1 nearly always exact.

    Args:
        levels: evaluates the points.
        max_evaluations: bound of ``levels.prober.evaluations``, None for none.
        isolate: refine to single symbol changes.
        pieces: at the beginning, at least 1.
        least: width in t below which no piece is halved.
    """

    def __init__(
        self,
        levels: Levels,
        max_evaluations: int | None,
        *,
        isolate: bool,
        pieces: int = 8,
        least: float = 2.0**-12,
    ) -> None:
        super().__init__(levels, max_evaluations)
        self.isolate, self.pieces, self.least = isolate, pieces, least

    def run(self, paths: Ints) -> None:
        """Walk the given paths."""
        pieces = self._first_pieces(paths)
        while len(pieces):
            # Last in, first out: few rows are kept at a time.
            pieces, batch = pieces[: -self.at_once], pieces[-self.at_once :]
            pieces = np.concatenate([pieces, self._refined(batch)])

    def _first_pieces(self, paths: Ints) -> Ints:
        count = len(paths)
        pieces = max(1, min(self.pieces, self.left // count - 1))
        uses = np.tile([1, *[2] * (pieces - 1), 1], count)
        t = np.tile(np.linspace(0, 1, pieces + 1), count)
        rows = self.levels.evaluate(np.repeat(paths, pieces + 1), t, uses).reshape(count, -1)
        owner = np.repeat(paths, pieces)
        return np.stack([owner, rows[:, :-1].reshape(-1), rows[:, 1:].reshape(-1)], axis=1)

    def _refined(self, pieces: Ints) -> Ints:
        """The halves that have to be looked at again; the others are done."""
        begin, end = self.levels.t[pieces[:, 1]], self.levels.t[pieces[:, 2]]
        wide = np.flatnonzero(end - begin > self.least)
        allowed = self.allowed(wide)
        self.unfinished |= set(pieces[wide[allowed:], 0].tolist())
        wide = wide[:allowed]
        self._finish(np.delete(pieces, wide, axis=0))
        pieces = pieces[wide]
        middle = self.levels.evaluate(pieces[:, 0], (begin[wide] + end[wide]) / 2, uses=2)
        path, left, right = pieces.T
        surprised = self.levels.surprised(left, middle, right)
        halves = [np.stack(half, axis=1) for half in ((path, left, middle), (path, middle, right))]
        if self.isolate:
            again = [surprised | (self.levels.differing(*half.T[1:]) > 1) for half in halves]
        else:
            again = [surprised, surprised]
        for half, more in zip(halves, again, strict=True):
            self._finish(half[~more])
        return np.concatenate([half[more] for half, more in zip(halves, again, strict=True)])

    def _finish(self, pieces: Ints) -> None:
        """Read off the events of pieces that are fine enough, and give up their ends."""
        if len(pieces) == 0:
            return
        for place, level in self.levels.measured:
            path, left, right = pieces.T
            found = self.levels.crossings(place, path, left, right, self.quantum)
            begin, end = self.levels.t[pieces[found.segment, 1]], self.levels.t[pieces[found.segment, 2]]
            t = begin + found.share * (end - begin)
            site = np.full(len(t), level.site)
            self.parts.append(Events(pieces[found.segment, 0], t, site, found.unit, found.step))
        self.release(pieces[:, 1:])
