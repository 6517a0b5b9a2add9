"""Sampled folding: n equally spaced points a path."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from foldmon.folding.model.memory import is_out_of_memory
from foldmon.folding.model.prober import Prober
from foldmon.folding.model.reporting import report_of
from foldmon.folding.results.decision import decision_folding
from foldmon.folding.results.distances import Distances
from foldmon.folding.results.nested import STRIDES, Nested
from foldmon.folding.results.report import FoldingReport
from foldmon.folding.results.statistics import Floats, Ints
from foldmon.folding.symbols.activations import Reading
from foldmon.folding.symbols.codes import Code, Scratch, hamming
from foldmon.folding.symbols.units import UnitCounts
from foldmon.folding.undisturbed.accelerator import arrived, to_host

# Codes that wait for their distances; 32 times smaller than the activations they came from.
_CODES_BYTES = 2**20


def measure_sampled(
    prober: Prober, points: int, paths: Ints | None = None, wished: int | None = None
) -> FoldingReport:
    """Folding from ``points`` equally spaced points on each path.

    Folding between the points is not seen: r1 and r2 are lower bounds of the path's own, and chi is
    usually below the exact value.

    Args:
        prober: the model on the paths.
        points: n, at least 2.
        paths: shape (m,), places of the pairs to walk; None walks all.
        wished: more points, to which the distances are extrapolated; None leaves them as they are seen.
            See :class:`foldmon.folding.results.nested.Nested` for what numbers fit.
    """
    return prober.measure(lambda: sampled_report(prober, points, paths, wished))


def sampled_report(
    prober: Prober, points: int, paths: Ints | None = None, wished: int | None = None
) -> FoldingReport:
    """:func:`measure_sampled` within a measurement."""
    every = np.arange(len(prober.pairs)) if paths is None else paths
    if wished is None:
        return report_of_samples(prober, walk(prober, every, points), paths)
    walked = walk(prober, every, points, strides=STRIDES)
    return _extrapolated(report_of_samples(prober, walked, paths), walked, points, wished)


def paths_at_once(paths: int, points: int, rows: int) -> int:
    """Paths of the next pass, of so many that are left: as few passes as ``rows`` a pass allow, all alike.

    Equal passes need the same memory, so that each finds what the last one freed.

    Example:
        >>> from foldmon.folding.sampled import paths_at_once
        >>> paths_at_once(256, 33, rows=8192), paths_at_once(128, 33, rows=8192)
        (128, 128)
    """
    most = max(1, rows // points)
    return -(-paths // -(-paths // most))


@dataclass
class WalkedPaths:
    """What a walk over some of the paths leaves; all statistics are computed from it.

    Attributes:
        distances: of the paths walked.
        classes: shape (paths walked, n), predicted class at each point, None where there is none.
        certainty: shape (paths walked, 2, CERTAINTY), see Prober.certainty.
        counts: of single units.
        evaluations: of the model.
        from_start: shape (sites, n, paths walked), distance of each point from its path's start; None where
            it was not asked for.
        coarser: distances at every so-many-th point, where they were asked for.
    """

    distances: Distances
    classes: Ints | None
    certainty: Floats
    counts: UnitCounts
    evaluations: int
    from_start: Ints | None = None
    coarser: tuple[Distances, ...] = ()

    @staticmethod
    def joined(parts: Sequence[WalkedPaths]) -> WalkedPaths:
        """What all parts leave, in their order."""
        first, *rest = parts
        for other in rest:
            first.counts.absorb(other.counts)
        classes = [part.classes for part in parts if part.classes is not None]
        return WalkedPaths(
            Distances.joined([part.distances for part in parts]),
            np.concatenate(classes) if len(classes) == len(parts) else None,
            np.concatenate([part.certainty for part in parts]),
            first.counts,
            sum(part.evaluations for part in parts),
        )

    @staticmethod
    def united(parts: Sequence[WalkedPaths], holds: npt.NDArray[np.bool_]) -> WalkedPaths:
        """What one process would leave that holds all units of the layers that several share.

        Args:
            parts: of the same paths and points, each with ``from_start``.
            holds: shape (parts, sites), whether a part has units of a site that no part before it has.
        """
        first, *rest = parts
        from_start = sum(_of_held(part.from_start, own) for part, own in zip(parts, holds, strict=True))
        r2 = sum(part.distances.r2 * own for part, own in zip(parts, holds, strict=True))
        for other, own in zip(rest, holds[1:], strict=True):
            first.counts.beside(other.counts, own)
        cumulative = np.maximum.accumulate(from_start.cumsum(0).max(1).T, axis=1)
        return replace(
            first,
            distances=Distances(from_start.max(1).T, r2, cumulative),
            evaluations=max(part.evaluations for part in parts),
            from_start=None,
        )


def _of_held(from_start: Ints | None, holds: npt.NDArray[np.bool_]) -> Any:
    assert from_start is not None
    return from_start * holds[:, None, None]


def walk(
    prober: Prober,
    paths: Ints,
    points: int,
    *,
    by_point: bool = False,
    strides: tuple[int, ...] = STRIDES[:1],
) -> WalkedPaths:
    """Walk some paths, ``points`` equally spaced points each, within a measurement.

    Args:
        prober: within a measurement.
        paths: shape (m,), places of the pairs.
        points: n.
        by_point: keep the distance from the start at every point, for :meth:`WalkedPaths.united`.
        strides: 1, and those of coarser walks over the same points.
    """
    walked = _Walk(prober, paths, points, by_point, strides)
    walked.run()
    return walked.result()


def report_of_samples(prober: Prober, walked: WalkedPaths, paths: Ints | None = None) -> FoldingReport:
    """The report of walked paths, of all or of those whose places are given."""
    decision = None
    if walked.classes is not None:
        decision = decision_folding(walked.classes, certainty=walked.certainty)
    report = report_of(prober, walked.distances, walked.counts, decision, method="sampled", paths=paths)
    return replace(report, evaluations=walked.evaluations)


def _extrapolated(report: FoldingReport, walked: WalkedPaths, points: int, wished: int) -> FoldingReport:
    """The report of paths walked at few points, as if at the wished ones."""
    changes: tuple[Ints, ...] = ()
    if (classes := walked.classes) is not None:
        changes = tuple((np.diff(classes[:, ::stride], axis=1) != 0).sum(1) for stride in STRIDES)
    nested = Nested(points, wished, (walked.distances, *walked.coarser), changes)
    found, decision = nested.distances, report.decision
    return replace(
        report,
        r1=found.r1,
        r2=found.r2,
        r1_cumulative=found.r1_cumulative,
        decision=decision and replace(decision, changes=nested.class_changes),
        notes=(*report.notes, f"r1 and r2 are extrapolated from {points} points a path to {wished}"),
        nested=nested,
    )


class _Walk:
    """Walks paths, a block of points at a time, and keeps distances only.

    Of a block's codes only the paths' first and last ones outlive it, and only where a path needs more
    than one block; distances are reduced as they come. So memory grows neither with the points nor with
    the layers. Nothing long-lived is allocated during a pass either: it would settle in the gaps that
    freed activations leave in the heap, and the next activation would need new memory.
    """

    def __init__(
        self, prober: Prober, paths: Ints, points: int, by_point: bool, strides: tuple[int, ...]
    ) -> None:
        self.prober = prober
        self.points, self.strides = points, strides
        device = prober.device
        self.paths = torch.from_numpy(paths).to(device)
        self.t = torch.linspace(0, 1, points, dtype=torch.float64).to(device)[:, None]
        shape = (len(prober.sites), len(paths))
        self.distances = [
            _RunningDistances(*(torch.zeros(shape, dtype=torch.int64, device=device) for _ in "123"))
            for _ in strides
        ]
        self.from_start: Tensor | None = None
        if by_point:
            self.from_start = torch.zeros((shape[0], points, shape[1]), dtype=torch.int32, device=device)
        self.classes: Tensor | None = torch.zeros((len(paths), points), dtype=torch.int64, device=device)
        self.scratch = Scratch(_CODES_BYTES)
        self.counts = UnitCounts(prober.sites, prober.units, self.scratch)

    def run(self) -> None:
        """Walk block after block; a block that does not fit into memory is halved."""
        low, end = 0, len(self.paths)
        while low < end:
            at_once = self.prober.rows_at_once
            count = paths_at_once(end - low, self.points, at_once)
            steps = min(self.points, at_once)
            try:
                self._walk_paths(slice(low, low + count), steps)
            except RuntimeError as error:
                if not is_out_of_memory(error) or at_once == 1:
                    raise
                self.prober.rows_at_once = max(1, min(at_once, count * steps) // 2)
                continue
            low += count

    def _walk_paths(self, rows: slice, steps: int) -> None:
        """Walk the paths from start to end, ``steps`` points a forward pass."""
        profile = None if self.from_start is None else self.from_start[:, :, rows]
        grids = [
            _Grid(
                stride,
                distances.of(rows),
                {} if steps < self.points else None,
                profile if stride == 1 else None,
            )
            for stride, distances in zip(self.strides, self.distances, strict=True)
        ]
        for begin in range(0, self.points, steps):
            self._step(rows, begin, min(begin + steps, self.points), grids)

    def _step(self, rows: slice, begin: int, end: int, grids: list[_Grid]) -> None:
        count, steps = rows.stop - rows.start, end - begin
        for grid in grids:
            grid.enter(begin, end, count, self.prober.device)
        block = _Block((steps, count), grids, self.counts, self.scratch)
        classes = self.prober.run(self.paths[None, rows], self.t[begin:end], block.look)
        block.reduce()
        if classes is None:
            self.classes = None
        elif self.classes is not None:
            self.classes[rows, begin:end] = classes.reshape(steps, count).T

    def result(self) -> WalkedPaths:
        """What is left of the walk, on the CPU: one copy from a device, after all passes."""
        certain = self.prober.certainty[self.paths]
        walks = [tensor for found in self.distances for tensor in (found.r1, found.r2, found.r1_cumulative)]
        distances = [to_host(tensor) for tensor in walks]
        others = [
            None if tensor is None else to_host(tensor) for tensor in (self.classes, certain, self.from_start)
        ]
        arrived([self.prober.device])
        classes, certainty, from_start = (None if copy is None else copy.numpy() for copy in others)
        assert certainty is not None
        fine, *coarser = (_on_host(*distances[low : low + 3]) for low in range(0, len(distances), 3))
        return WalkedPaths(
            fine,
            classes,
            certainty.astype(np.float64),
            self.counts,
            self.prober.evaluations,
            from_start,
            tuple(coarser),
        )


def _on_host(r1: Tensor, r2: Tensor, cumulative: Tensor) -> Distances:
    """By path and site. A site that a pass left out is as flat as it is."""
    return Distances(r1.numpy().T, r2.numpy().T, np.maximum.accumulate(cumulative.numpy().T, axis=1))


@dataclass
class _RunningDistances:
    """Distances so far by site and path, shape (L, P), int64, on the model's device."""

    r1: Tensor
    r2: Tensor
    r1_cumulative: Tensor

    def of(self, rows: slice) -> _RunningDistances:
        """Those of some paths, as views, set to zero."""
        return _RunningDistances(*(part[:, rows].zero_() for part in (self.r1, self.r2, self.r1_cumulative)))


_Ends = dict[int, tuple[Code, Code]]
"""By site: code at the paths' starts and at the points where the last block ended."""


class _Grid:
    """The walk at every ``stride``-th point, block after block.

    Args:
        stride: 1 for all points.
        distances: of the block's paths, updated at each site.
        ends: empty, filled with what the next block of the same paths needs; None where none follows.
        profile: shape (sites, n, count), where the distances from the start are kept, None for nowhere.
    """

    def __init__(
        self, stride: int, distances: _RunningDistances, ends: _Ends | None, profile: Tensor | None
    ) -> None:
        self.stride, self.distances, self.ends, self.profile = stride, distances, ends, profile

    def enter(self, begin: int, end: int, count: int, device: torch.device) -> None:
        """The next block holds the points from ``begin`` to before ``end``."""
        self._first, self._points = -begin % self.stride, slice(begin, end)
        steps = len(range(begin + self._first, end, self.stride))
        # Distance from the start in all sites so far.
        self._joined = torch.zeros((steps, count), dtype=torch.int64, device=device)

    def add(self, place: int, block: Code) -> None:
        """Take in a site's code of the block's points, shape (planes, steps, count, words)."""
        if not len(self._joined):
            return
        code = block if self.stride == 1 else block[:, self._first :: self.stride]
        start = code[:, 0] if self.ends is None else self._continue(self.ends, place, code)
        # To where the distances are: layers of one model may be on several devices.
        home = self._joined.device
        from_start = hamming(code, start[:, None]).to(home, non_blocking=True)
        self._joined += from_start
        if self.profile is not None:
            self.profile[place, self._points] = from_start
        self.distances.r2[place] += hamming(code[:, 1:], code[:, :-1]).sum(0).to(home, non_blocking=True)
        _raise_to(self.distances.r1[place], from_start.amax(0))
        _raise_to(self.distances.r1_cumulative[place], self._joined.amax(0))

    def _continue(self, ends: _Ends, place: int, code: Code) -> Code:
        """Join on to the last block; returns the code at the paths' starts."""
        if place not in ends:
            ends[place] = (_copy(code[:, 0]), _copy(code[:, -1]))
            return code[:, 0]
        start, previous = ends[place]
        walked = self.distances.r2[place]
        walked += hamming(code[:, 0], previous).to(walked.device, non_blocking=True)
        _copy_into(previous, code[:, -1])
        return start


@dataclass
class _Block:
    """One forward pass over some paths and neighbouring points of each, point after point.

    So all paths of a point lie side by side, and what is joined over points is joined in long rows.

    Attributes:
        shape: (steps, count), number of points and of paths.
        grids: what is made of the codes.
        counts: of single units.
        scratch: holds the codes of some sites. Their distances are computed together: after a pass
            through the model's own layers neither the interpreter nor a code is in a core's caches, and
            a fifth of the time is spent on fetching them back.
    """

    shape: tuple[int, int]
    grids: list[_Grid]
    counts: UnitCounts
    scratch: Scratch
    waiting: list[tuple[int, Code, bool]] = field(default_factory=list)

    def look(self, place: int, reading: Reading) -> None:
        """Reduce a site's values to codes at once, and codes to distances where no more have room."""
        code = self.counts.read(place, reading)
        self.waiting.append((place, code, reading.thresholds is not None))
        if self.scratch.full or isinstance(code, Tensor) or reading.thresholds is None:
            self.reduce()

    def reduce(self) -> None:
        """Reduce all codes so far to distances."""
        for place, code, thresholded in self.waiting:
            if thresholded:
                self.counts.mark(place, code)
            by_point = code.reshape(code.shape[0], *self.shape, code.shape[-1])
            for grid in self.grids:
                grid.add(place, by_point)
        self.waiting.clear()
        self.scratch.free()


def _raise_to(maximum: Tensor, values: Tensor) -> None:
    torch.maximum(maximum, values, out=maximum)


def _copy_into(room: Code, code: Code) -> None:
    if isinstance(room, Tensor):
        room.copy_(torch.as_tensor(code))
    else:
        np.copyto(room, np.asarray(code))


def _copy(code: Code) -> Code:
    return code.clone() if isinstance(code, Tensor) else code.copy()
