"""Exact folding of piecewise-linear networks, by hooks alone.

Between two neighbouring points a layer's pre-activations are straight once every breakpoint of the earlier
layers is a point. Its own crossings then follow by interpolation; they are the events that folding
counts, and the points that the next layer needs. Layer by layer only new points are evaluated; the last
layer needs none. Symbols are compared at points that were made by earlier layers only, never at a unit's
own crossing, where rounding would decide.
"""

from __future__ import annotations

from typing import NoReturn

import numpy as np

from foldmon.folding.exact.events import Events
from foldmon.folding.exact.linearity import Linearity, rounding
from foldmon.folding.exact.trace import Crossings, Trace
from foldmon.folding.exact.walk import KEPT_BYTES, Walk
from foldmon.folding.results.statistics import Floats, Ints

_LEAST_WIDTH = 2.0**-20  # of a path; a hidden bend is located to this width
_MIDDLE = 7 / 16  # off the centre, where the odd symmetry of a clamp would hide it
_JUMP = 2.0**-12  # of a stage's largest value; a step of that size within the least width is none of a slope
_NARROW = 2.0**-8  # of a path: on pieces of this width hidden bends lie alone
_ENOUGH, _FEW = 64, 4  # pairs of halves that tell a curve from bends, on the way and at the end
_MAY_CURVE = (0.25, 0.5)  # share of these pairs that bends make look like a curve, at most
_CHECKED = 0.04  # of the breakpoints' evaluations, what checks for what no hook sees may add
_UNSEEN = 8.0  # times rounding that such a check must find


class CurvedPath(Exception):
    """The model is not linear in pieces."""


class ExactWalk(Walk):
    """Finds every event of some paths.

    Raises:
        CurvedPath: from :meth:`run`, where the model up to the last measured layer is not linear in pieces;
            ``trace.curved`` then says what.
    """

    at_once = 4096  # segments

    def __init__(self, trace: Trace, max_evaluations: int | None) -> None:
        super().__init__(trace, max_evaluations)
        # Segments by stage: rows (path, left, right, middle); a middle of -1 is not evaluated.
        self._waiting: dict[int, list[Ints]] = {}
        self._ends = self._checked = 0  # evaluations
        self._vouched: set[int] = set()  # paths of which a piece was tested
        # Pairs of halves that both pass for straight, and narrow ones that do not; of these, both curved.
        self._pairs: Ints = np.zeros((2, 2), dtype=np.int64)

    def run(self, paths: Ints) -> None:
        """Walk the given paths."""
        ends = [self.trace.evaluate(paths, np.full(len(paths), t), uses=1) for t in (0.0, 1.0)]
        self._ends += 2 * len(paths)
        if self.trace.linearity == Linearity.CURVED:
            raise CurvedPath(", ".join(self.trace.curved))
        self._wait(0, np.stack([paths, *ends, np.full(len(paths), -1)], axis=1))
        while self._waiting:
            stage = self._next_stage()
            segments = np.concatenate(self._waiting.pop(stage))
            self._wait(stage, segments[self.at_once :])
            self._process(stage, segments[: self.at_once])
        self._tell_a_curve(_FEW)
        if self.trace.linearity == Linearity.LINEAR:
            self.unfinished |= set(paths.tolist()) - self._vouched

    def _next_stage(self) -> int:
        # All segments of a stage at once make the largest batches; the deepest first frees memory.
        crowded = self.trace.kept * self.trace.bytes_a_row > KEPT_BYTES
        return max(self._waiting) if crowded else min(self._waiting)

    def _wait(self, stage: int, segments: Ints) -> None:
        if len(segments):
            self._waiting.setdefault(stage, []).append(segments)

    def _process(self, stage: int, segments: Ints) -> None:
        if self.trace.linearity != Linearity.LINEAR:
            segments = self._straight(stage, segments)
        path, left, right, _ = segments.T
        found = self.trace.crossings(stage, path, left, right, self.quantum)
        t = self._positions(segments, found)
        rule = self.trace.stages[stage]
        if rule.site is not None:
            site = np.full(len(t), rule.site)
            self.parts.append(Events(path[found.segment], t, site, found.unit, found.step))
        if stage == self.trace.last:
            self._check(segments)
            self.release(segments[:, 1:])
            return
        whole, cut, new, t = self._cuts(segments, found, t)
        self._wait(stage + 1, segments[whole])
        self._wait(stage + 1, self._split(segments[cut], new, t))

    def _positions(self, segments: Ints, found: Crossings) -> Floats:
        left, right = self.trace.t[segments[found.segment, 1]], self.trace.t[segments[found.segment, 2]]
        t: Floats = left + found.share * (right - left)
        return t

    def _cuts(self, segments: Ints, found: Crossings, t: Floats) -> tuple[Ints, Ints, Ints, Floats]:
        """Which segments stay whole, which are cut, and where (rows of the cut ones, positions)."""
        t = np.round(t / self.quantum) * self.quantum
        inside = (t > self.trace.t[segments[found.segment, 1]]) & (
            t < self.trace.t[segments[found.segment, 2]]
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
        rows = self.trace.evaluate(segments[of, 0], t, uses=2)
        owner = np.concatenate([np.arange(len(segments)), of])
        where = self.trace.t
        left, right = (
            ends[np.lexsort((where[ends], owner))]
            for ends in (np.concatenate([segments[:, 1], rows]), np.concatenate([segments[:, 2], rows]))
        )
        path = segments[np.sort(owner), 0]
        return np.stack([path, left, right, np.full(len(path), -1)], axis=1)

    def _straight(self, stage: int, segments: Ints) -> Ints:
        """The segments on which the stage is straight; the others are halved and wait.

        A segment whose middle lies on the line between its ends is taken for straight. One selection of
        straight inputs is convex or concave and cannot pass the test by chance; several may.

        Raises:
            CurvedPath: the stage jumps, or bends nearly everywhere.
        """
        segments[:, 3] = self._middles(segments)
        tested = segments[:, 3] >= 0
        begin, end = self.trace.t[segments[:, 1]], self.trace.t[segments[:, 2]]
        narrow = segments[~tested & (end - begin < _LEAST_WIDTH)]
        if (self.trace.steps(stage, narrow[:, 1], narrow[:, 2]) > _JUMP).any():
            self._give_up("something that jumps")
        bent = np.zeros(len(segments), dtype=bool)
        bent[tested] = self._deviations(stage, segments[tested]) > 1
        halves = self._halves(segments[bent])
        halves[:, 3] = self._middles(halves)
        self._judge(stage, halves)
        self._wait(stage, halves)
        straight: Ints = segments[~bent]
        return straight

    def _deviations(self, stage: int, segments: Ints) -> Floats:
        """How far the middles of segments leave straight lines, 1 being what rounding explains."""
        _, left, right, middle = segments.T
        return self.trace.deviations(stage, left, middle, right) / rounding(self.trace.prober.dtype)

    def _judge(self, stage: int, halves: Ints) -> None:
        """Tell a curve, which bends both halves of whatever it bends, from bends, which lie in one of them.

        Halves of a curve bend a quarter as far as the whole: where both pass for straight at last, they do
        so barely. Of the halves of a single bend one is straight to a few digits of rounding.
        """
        first, second = np.split(halves, 2)
        tested = (first[:, 3] >= 0) & (second[:, 3] >= 0)
        one, other = self._deviations(stage, first[tested]), self._deviations(stage, second[tested])
        width = self.trace.t[second[tested, 2]] - self.trace.t[first[tested, 1]]
        passing = (one <= 1) & (other <= 1)
        narrow = ~passing & (width <= _NARROW)
        curved = (np.minimum(one, other) > np.where(passing, 1 / 8, 1)) & (passing | narrow)
        self._pairs += [[passing.sum(), narrow.sum()], [(curved & passing).sum(), (curved & narrow).sum()]]
        self._tell_a_curve(_ENOUGH)

    def _tell_a_curve(self, enough: int) -> None:
        pairs, curved = self._pairs
        if ((pairs >= enough) & (curved > np.multiply(_MAY_CURVE, pairs))).any():
            self._give_up("something that curves")

    def _give_up(self, what: str) -> NoReturn:
        self.trace.judge([(Linearity.CURVED, what)])
        raise CurvedPath(what)

    def _check(self, segments: Ints) -> None:
        """Test the middles of the widest segments: one of every path, and as many as their share pays.

        What runs inside compiled code or operators of other libraries shows in no hook.
        """
        if self.trace.linearity != Linearity.LINEAR:
            return  # tested at every stage
        some = segments[np.sort(self._to_check(segments))]
        some[:, 3] = self._middles(some)
        some = some[some[:, 3] >= 0]
        self._checked += len(some)
        self._vouched |= set(some[:, 0].tolist())
        for stage in range(self.trace.last + 1):
            path, left, right, _ = some.T
            shifts = self.trace.shifts(stage, path, left, right, 4 * self.quantum)
            if (
                self._deviations(stage, some) > _UNSEEN * (1 + shifts / rounding(self.trace.prober.dtype))
            ).any():
                self._give_up("something that no hook sees")
        self.release(some[:, 3])

    def _to_check(self, segments: Ints) -> Ints:
        """Which segments: of each path that none was tested of the widest, then the widest of all."""
        width = self.trace.t[segments[:, 2]] - self.trace.t[segments[:, 1]]
        widest = np.argsort(-width, kind="stable")
        # Where the bound left no points for bends, a piece need not be straight.
        widest = widest[~np.isin(segments[widest, 0], list(self.unfinished))]
        paths, first = np.unique(segments[widest, 0], return_index=True)
        of_each = widest[first[~np.isin(paths, list(self._vouched))]]
        breakpoints = self.trace.prober.evaluations - self._ends
        more = max(0, int(_CHECKED * breakpoints) - self._checked - len(of_each))
        others = widest[~np.isin(widest, of_each)]
        return np.concatenate([of_each, others[:more]])

    def _middles(self, segments: Ints) -> Ints:
        """Rows of a point inside each segment, -1 where it is too narrow or the bound is reached."""
        middles = segments[:, 3].copy()
        begin, end = self.trace.t[segments[:, 1]], self.trace.t[segments[:, 2]]
        wide = end - begin >= _LEAST_WIDTH
        missing = np.flatnonzero((middles < 0) & wide)
        allowed = self.allowed(missing)
        self.unfinished |= set(segments[missing[allowed:], 0].tolist())
        missing = missing[:allowed]
        t = begin[missing] + _MIDDLE * (end - begin)[missing]
        t = np.round(t / self.quantum) * self.quantum
        middles[missing] = self.trace.evaluate(segments[missing, 0], t, uses=1)
        return middles

    def _halves(self, segments: Ints) -> Ints:
        """The pieces on either side of the middles."""
        path, left, right, middle = segments.T
        none = np.full(len(path), -1)
        # The middle was used by one segment and is now used by two.
        self.trace.hold(middle)
        return np.concatenate(
            [np.stack([path, left, middle, none], axis=1), np.stack([path, middle, right, none], axis=1)]
        )
