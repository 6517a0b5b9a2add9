"""Exact folding of piecewise-linear networks, by hooks alone.

Between two neighbouring points a layer's pre-activations are straight once every breakpoint of the earlier
layers is a point. Its own crossings then follow by interpolation; they are the events that folding
counts, and the points that the next layer needs. Layer by layer only new points are evaluated; the last
layer needs none. Symbols are compared at points that were made by earlier layers only, never at a unit's
own crossing, where rounding would decide.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import torch

from foldmon.measure.decision import decision_folding
from foldmon.measure.events import Events, distances
from foldmon.measure.levels import Crossings, Levels, ordered_classes
from foldmon.measure.linear import Shape, rounding
from foldmon.measure.names import choose
from foldmon.measure.pairs import Pairs
from foldmon.measure.prober import Prober
from foldmon.measure.report import FoldingReport
from foldmon.measure.statistics import Floats, Ints
from foldmon.measure.units import UnitCounts

_KEPT_BYTES = 256 * 2**20
_SEGMENTS_AT_ONCE = 4096
_LEAST_WIDTH = 2.0**-20  # of a path; a hidden bend is located to this width
_MIDDLE = 7 / 16  # off the centre, where the odd symmetry of a clamp would hide it


def quantum(dtype: torch.dtype) -> float:
    """Spacing of the positions t that are evaluated: each is a number of ``dtype``."""
    return 2.0**-45 if dtype == torch.float64 else 2.0**-24


class ExactWalk:
    """Finds every event of some paths.

    Args:
        levels: evaluates the points.
        depth: index of the last site that is measured; what comes after it needs no events.
        max_evaluations: bound of ``levels.prober.evaluations``, None for none.

    Attributes:
        parts: events found so far, of sites 0..depth.
        unfinished: paths that the bound or the resolution in t left inexact.
    """

    def __init__(self, levels: Levels, depth: int, max_evaluations: int | None) -> None:
        self.levels, self.depth = levels, depth
        self.max_evaluations = max_evaluations
        self.quantum = quantum(levels.prober.dtype)
        self.parts: list[Events] = []
        self.unfinished: set[int] = set()
        # Segments by level: rows (path, left, right, middle); a middle of -1 is not evaluated.
        self._waiting: dict[int, list[Ints]] = {}

    def run(self, paths: Ints) -> None:
        """Walk the given paths."""
        ends = [self.levels.evaluate(paths, np.full(len(paths), t), uses=1) for t in (0.0, 1.0)]
        self._wait(0, np.stack([paths, *ends, np.full(len(paths), -1)], axis=1))
        while self._waiting:
            level = self._next_level()
            segments = np.concatenate(self._waiting.pop(level))
            self._wait(level, segments[_SEGMENTS_AT_ONCE:])
            self._process(level, segments[:_SEGMENTS_AT_ONCE])

    def _next_level(self) -> int:
        # All segments of a level at once make the largest batches; the deepest first frees memory.
        crowded = self.levels.kept * self.levels.bytes_a_row > _KEPT_BYTES
        return max(self._waiting) if crowded else min(self._waiting)

    def _wait(self, level: int, segments: Ints) -> None:
        if len(segments):
            self._waiting.setdefault(level, []).append(segments)

    @property
    def _last(self) -> int:
        return max(p for p, level in enumerate(self.levels.levels) if level.site in range(self.depth + 1))

    def _process(self, level: int, segments: Ints) -> None:
        if self.levels.shape != Shape.LINEAR:
            segments = self._straight(level, segments)
        found = self.levels.crossings(level, *segments.T[:3], self.quantum)
        t = self._positions(segments, found)
        rule = self.levels.levels[level]
        if rule.site is not None:
            path, site = segments[found.segment, 0], np.full(len(t), rule.site)
            self.parts.append(Events(path, t, site, found.unit, found.step))
        if level == self._last:
            self._release(segments[:, 1:])
            return
        # A selection's segments come back until both ends of each select the same index.
        next_level = level if rule.select is not None else level + 1
        whole, cut, new, t = self._cuts(segments, found, t)
        self._wait(level + 1, segments[whole])
        self._wait(next_level, self._split(segments[cut], new, t))

    def _positions(self, segments: Ints, found: Crossings) -> Floats:
        left, right = self.levels.t[segments[found.segment, 1]], self.levels.t[segments[found.segment, 2]]
        return left + found.share * (right - left)

    def _cuts(self, segments: Ints, found: Crossings, t: Floats) -> tuple[Ints, Ints, Ints, Floats]:
        """Which segments stay whole, which are cut, and where (rows of the cut ones, positions)."""
        t = np.round(t / self.quantum) * self.quantum
        inside = (t > self.levels.t[segments[found.segment, 1]]) & (
            t < self.levels.t[segments[found.segment, 2]]
        )
        new = np.unique(np.stack([found.segment[inside].astype(np.float64), t[inside]], axis=1), axis=0)
        segment, t = new[:, 0].astype(np.int64), new[:, 1]
        allowed = self._allowed(segment)
        self.unfinished |= set(segments[segment[allowed:], 0].tolist())
        cut, new_of = np.unique(segment[:allowed], return_inverse=True)
        whole = np.setdiff1d(np.arange(len(segments)), cut)
        return whole, cut, new_of, t[:allowed]

    def _allowed(self, segment: Ints) -> int:
        """How many of the new points the bound allows, whole segments only."""
        left = self._left()
        if len(segment) <= left:
            return len(segment)
        return int(np.searchsorted(segment, segment[left]))

    def _left(self) -> float:
        if self.max_evaluations is None:
            return float("inf")
        return max(0, self.max_evaluations - self.levels.prober.evaluations)

    def _split(self, segments: Ints, of: Ints, t: Floats) -> Ints:
        """Evaluate points t (of which segment, in order) and return the pieces they make."""
        if len(segments) == 0:
            return segments
        self._release(segments[:, 3:])
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
        allowed = int(min(len(missing), self._left()))
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

    def _release(self, rows: Ints) -> None:
        rows = rows.reshape(-1)
        self.levels.release(rows[rows >= 0])


def measure_exact(
    prober: Prober, pairs: Pairs, layers: str | Iterable[str] | None, max_evaluations: int | None
) -> FoldingReport:
    """Folding of the continuous paths.

    Args:
        prober: the model on the lines that join ``pairs``, with all its sites.
        pairs: the ends.
        layers: names or patterns of the layers to report, None for all.
        max_evaluations: bound of the evaluations, at least two a path; None for none.

    Raises:
        NotTraceable: the model cannot be followed from point to point.
    """
    began = time.perf_counter()
    counts = UnitCounts(prober.sites, prober.units)
    levels = Levels(prober, len(pairs), counts)
    chosen = np.flatnonzero(np.isin(prober.sites, choose(prober.sites, layers)))
    walk = ExactWalk(levels, int(chosen[-1]), max_evaluations)
    with prober.active():
        walk_in_blocks(walk, len(pairs))
    return report_of(walk, pairs, chosen, began)


def walk_in_blocks(walk: ExactWalk, paths: int) -> None:
    """Walk all paths, as many at once as memory allows."""
    low = 0
    while low < paths:
        # The first path tells how much memory a point takes.
        room = max(1, _KEPT_BYTES // (16 * walk.levels.bytes_a_row)) if low else 1
        walk.run(np.arange(low, min(low + room, paths)))
        low += room


def report_of(walk: ExactWalk, pairs: Pairs, chosen: Ints, began: float) -> FoldingReport:
    """The report of a finished walk over the ``chosen`` sites."""
    prober, levels = walk.levels.prober, walk.levels
    events = Events.joined(walk.parts)
    place = np.full(len(prober.sites), -1)
    place[chosen] = np.arange(len(chosen))
    kept = place[events.site] >= 0
    events = Events(*(getattr(events, name)[kept] for name in ("path", "t", "site", "unit", "step")))
    events = replace(events, site=place[events.site])
    found = distances(events, len(pairs), len(chosen), tie=4 * walk.quantum)
    decision = None
    if levels.classes is not None:
        decision = decision_folding(*ordered_classes(levels.classes, len(pairs)))
    counts = levels.counts
    return FoldingReport(
        layers=tuple(prober.sites[site] for site in chosen),
        units=tuple(prober.units[site] for site in chosen),
        r1=found.r1,
        r2=found.r2,
        r1_cumulative=found.r1_cumulative,
        method="exact",
        exact=not walk.unfinished and levels.shape != Shape.CURVED,
        evaluations=prober.evaluations,
        seconds=time.perf_counter() - began,
        nonfinite=counts.nonfinite[chosen],
        dead=counts.dead[chosen],
        saturated=counts.saturated[chosen],
        coverage=prober.coverage,
        decision=decision,
        classes=pairs.classes,
        class_names=pairs.class_names,
        notes=counts.notes + tuple(prober.notes) + _notes(walk, len(pairs)),
    )


def _notes(walk: ExactWalk, paths: int) -> tuple[str, ...]:
    notes = []
    if walk.unfinished:
        notes.append(
            f"stopped at max_evaluations={walk.max_evaluations:,}: {paths - len(walk.unfinished)} of {paths} "
            "paths are exact, the others are interpolated between the points evaluated so far"
        )
    return tuple(notes)
