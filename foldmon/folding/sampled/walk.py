"""Walks along paths, at equally spaced points, of which only distances are kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from foldmon.folding.model.memory import is_out_of_memory
from foldmon.folding.model.prober import Prober
from foldmon.folding.results.distances import Distances
from foldmon.folding.results.nested import STRIDES
from foldmon.folding.results.statistics import Floats, Ints
from foldmon.folding.sampled.blocks import Block, Grid, RunningDistances
from foldmon.folding.symbols.codes import Scratch
from foldmon.folding.symbols.units import UnitCounts
from foldmon.folding.undisturbed.accelerator import arrived, to_host

# Codes that wait for their distances; 32 times smaller than the activations they came from.
CODES_BYTES = 2**20


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


def paths_at_once(paths: int, points: int, rows: int) -> int:
    """Paths of the next pass, of so many that are left: as few passes as ``rows`` a pass allow, all alike.

    Equal passes need the same memory, so that each finds what the last one freed.

    Example:
        >>> from foldmon.folding.sampled.walk import paths_at_once
        >>> paths_at_once(256, 33, rows=8192), paths_at_once(128, 33, rows=8192)
        (128, 128)
    """
    most = max(1, rows // points)
    return -(-paths // -(-paths // most))


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
        self.t = torch.linspace(0, 1, points, dtype=torch.float64, device="cpu").to(device)[:, None]
        shape = (len(prober.sites), len(paths))
        self.distances = [
            RunningDistances(*(torch.zeros(shape, dtype=torch.int64, device=device) for _ in "123"))
            for _ in strides
        ]
        self.from_start: Tensor | None = None
        if by_point:
            self.from_start = torch.zeros((shape[0], points, shape[1]), dtype=torch.int32, device=device)
        self.classes: Tensor | None = torch.zeros((len(paths), points), dtype=torch.int64, device=device)
        self.scratch = Scratch(CODES_BYTES)
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
            Grid(
                stride,
                distances.of(rows),
                {} if steps < self.points else None,
                profile if stride == 1 else None,
            )
            for stride, distances in zip(self.strides, self.distances, strict=True)
        ]
        for begin in range(0, self.points, steps):
            self._step(rows, begin, min(begin + steps, self.points), grids)

    def _step(self, rows: slice, begin: int, end: int, grids: list[Grid]) -> None:
        count, steps = rows.stop - rows.start, end - begin
        for grid in grids:
            grid.enter(begin, end, count, self.prober.device)
        block = Block((steps, count), grids, self.counts, self.scratch)
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
