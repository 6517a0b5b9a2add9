"""Exact folding of piecewise-linear networks, by hooks alone.

Between two neighbouring points a layer's pre-activations are straight once every breakpoint of the earlier
layers is a point. Its own crossings then follow by interpolation; they are the events that folding
counts, and the points that the next layer needs. Layer by layer only new points are evaluated; the last
layer needs none. Symbols are compared at points that were made by earlier layers only, never at a unit's
own crossing, where rounding would decide.
"""

from __future__ import annotations

import numpy as np

from foldmon.measure.events import Events
from foldmon.measure.levels import Crossings, Levels
from foldmon.measure.linear import Shape, rounding
from foldmon.measure.statistics import Floats, Ints
from foldmon.measure.walks import KEPT_BYTES, Walk

_LEAST_WIDTH = 2.0**-20  # of a path; a hidden bend is located to this width
_MIDDLE = 7 / 16  # off the centre, where the odd symmetry of a clamp would hide it


class CurvedPath(Exception):
    """The model is not linear in pieces."""


class ExactWalk(Walk):
    """Finds every event of some paths.

    Raises:
        CurvedPath: from :meth:`run`, where the model up to the last measured layer is not linear in pieces.
    """

    at_once = 4096  # segments

    def __init__(self, levels: Levels, max_evaluations: int | None) -> None:
        super().__init__(levels, max_evaluations)
        # Segments by level: rows (path, left, right, middle); a middle of -1 is not evaluated.
        self._waiting: dict[int, list[Ints]] = {}

    def run(self, paths: Ints) -> None:
        """Walk the given paths."""
        ends = [self.levels.evaluate(paths, np.full(len(paths), t), uses=1) for t in (0.0, 1.0)]
        if self.levels.shape == Shape.CURVED:
            raise CurvedPath(", ".join(self.levels.curved))
        self._wait(0, np.stack([paths, *ends, np.full(len(paths), -1)], axis=1))
        while self._waiting:
            level = self._next_level()
            segments = np.concatenate(self._waiting.pop(level))
            self._wait(level, segments[self.at_once :])
            self._process(level, segments[: self.at_once])

    def _next_level(self) -> int:
        # All segments of a level at once make the largest batches; the deepest first frees memory.
        crowded = self.levels.kept * self.levels.bytes_a_row > KEPT_BYTES
        return max(self._waiting) if crowded else min(self._waiting)

    def _wait(self, level: int, segments: Ints) -> None:
        if len(segments):
            self._waiting.setdefault(level, []).append(segments)

    def _process(self, level: int, segments: Ints) -> None:
        if self.levels.shape != Shape.LINEAR:
            segments = self._straight(level, segments)
        path, left, right, _ = segments.T
        found = self.levels.crossings(level, path, left, right, self.quantum)
        t = self._positions(segments, found)
        rule = self.levels.levels[level]
        if rule.site is not None:
            site = np.full(len(t), rule.site)
            self.parts.append(Events(path[found.segment], t, site, found.unit, found.step))
        if level == self.levels.last:
            self.release(segments[:, 1:])
            return
        whole, cut, new, t = self._cuts(segments, found, t)
        self._wait(level + 1, segments[whole])
        self._wait(level + 1, self._split(segments[cut], new, t))

    def _positions(self, segments: Ints, found: Crossings) -> Floats:
        left, right = self.levels.t[segments[found.segment, 1]], self.levels.t[segments[found.segment, 2]]
        t: Floats = left + found.share * (right - left)
        return t

    def _cuts(self, segments: Ints, found: Crossings, t: Floats) -> tuple[Ints, Ints, Ints, Floats]:
        """Which segments stay whole, which are cut, and where (rows of the cut ones, positions)."""
        t = np.round(t / self.quantum) * self.quantum
        inside = (t > self.levels.t[segments[found.segment, 1]]) & (
            t < self.levels.t[segments[found.segment, 2]]
        )
        new = np.unique(np.stack([found.segment[inside].astype(np.float64), t[inside]], axis=1), axis=0)
        segment, t = new[:, 0].astype(np.int64), new[:, 1]
        allowed = self.allowed(segment)
        self.unfinished |= set(segments[segment[allowed:], 0].tolist())
        cut, new_of = np.unique(segment[:allowed], return_inverse=True)
        whole = np.setdiff1d(np.arange(len(segments)), cut)
        return whole, cut, new_of, t[:allowed]

    def _split(self, segments: Ints, of: Ints, t: Floats) -> Ints:
        """Evaluate points t (of which segment, in order) and return the pieces they make."""
        if len(segments) == 0:
            return segments
        self.release(segments[:, 3:])
        rows = self.levels.evaluate(segments[of, 0], t, uses=2)
        owner = np.concatenate([np.arange(len(segments)), of])
        where = self.levels.t
        left, right = (
            ends[np.lexsort((where[ends], owner))]
            for ends in (np.concatenate([segments[:, 1], rows]), np.concatenate([segments[:, 2], rows]))
        )
        path = segments[np.sort(owner), 0]
        return np.stack([path, left, right, np.full(len(path), -1)], axis=1)

    def _straight(self, level: int, segments: Ints) -> Ints:
        """The segments on which the level is straight; the others are halved and wait.

        A segment whose middle lies on the line between its ends is taken for straight. One selection of
        straight inputs is convex or concave and cannot pass the test by chance; several may.
        """
        middles = self._middles(segments)
        tested = np.flatnonzero(middles >= 0)
        left, right = segments[tested, 1], segments[tested, 2]
        tolerance = rounding(self.levels.prober.dtype)
        bent = tested[self.levels.bent(level, left, middles[tested], right, tolerance)]
        segments[:, 3] = middles
        self._wait(level, self._halves(segments[bent]))
        return np.delete(segments, bent, axis=0)

    def _middles(self, segments: Ints) -> Ints:
        """Rows of a point inside each segment, -1 where it is too narrow or the bound is reached."""
        middles = segments[:, 3].copy()
        begin, end = self.levels.t[segments[:, 1]], self.levels.t[segments[:, 2]]
        wide = end - begin >= _LEAST_WIDTH
        missing = np.flatnonzero((middles < 0) & wide)
        allowed = self.allowed(missing)
        self.unfinished |= set(segments[missing[allowed:], 0].tolist())
        missing = missing[:allowed]
        t = begin[missing] + _MIDDLE * (end - begin)[missing]
        t = np.round(t / self.quantum) * self.quantum
        middles[missing] = self.levels.evaluate(segments[missing, 0], t, uses=1)
        return middles

    def _halves(self, segments: Ints) -> Ints:
        """The pieces on either side of the middles."""
        path, left, right, middle = segments.T
        none = np.full(len(path), -1)
        # The middle was used by one segment and is now used by two.
        self.levels.hold(middle)
        return np.concatenate(
            [np.stack([path, left, middle, none], axis=1), np.stack([path, middle, right, none], axis=1)]
        )
