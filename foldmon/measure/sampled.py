"""Sampled folding: n equally spaced points a path."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from foldmon.measure.activations import Reading
from foldmon.measure.codes import Code, hamming
from foldmon.measure.decision import decision_folding
from foldmon.measure.pairs import Pairs
from foldmon.measure.prober import Prober
from foldmon.measure.report import FoldingReport
from foldmon.measure.statistics import Ints
from foldmon.measure.units import UnitCounts


def measure_sampled(prober: Prober, pairs: Pairs, points: int) -> FoldingReport:
    """Folding from ``points`` equally spaced points on each path.

    Folding between the points is not seen: r1 and r2 are lower bounds of the path's own, and chi is
    usually below the exact value.

    Args:
        prober: the model on the lines that join ``pairs``.
        pairs: the ends.
        points: n, at least 2.
    """
    began = time.perf_counter()
    walk = _Walk(prober, len(pairs), points)
    with prober.active():
        walk.run()
    r1, r2, r1_cumulative = walk.distances.arrays()
    return FoldingReport(
        layers=prober.sites,
        units=prober.units,
        r1=r1,
        r2=r2,
        r1_cumulative=r1_cumulative,
        method="sampled",
        exact=False,
        evaluations=prober.evaluations,
        seconds=time.perf_counter() - began,
        nonfinite=walk.counts.nonfinite,
        dead=walk.counts.dead,
        saturated=walk.counts.saturated,
        coverage=prober.coverage,
        decision=None if walk.classes is None else decision_folding(walk.classes),
        classes=pairs.classes,
        class_names=pairs.class_names,
        notes=walk.counts.notes + tuple(prober.notes),
    )


class _Walk:
    """Walks all paths, a block of points at a time, and keeps distances only.

    Of a block's codes only the paths' first and last ones outlive it, and only where a path needs more
    than one block; distances are reduced as they come. So memory grows neither with the points nor with
    the layers. Nothing long-lived is allocated during a pass either: it would settle in the gaps that
    freed activations leave in the heap, and the next activation would need new memory.
    """

    def __init__(self, prober: Prober, paths: int, points: int) -> None:
        self.prober = prober
        self.paths, self.points = paths, points
        device = prober.device
        self.t = torch.linspace(0, 1, points, dtype=torch.float64).to(device)
        shape = (paths, len(prober.sites))
        self.distances = _Distances(*(torch.zeros(shape, dtype=torch.int64, device=device) for _ in "123"))
        self.classes: Ints | None = np.zeros((paths, points), dtype=np.int64)
        self.counts = UnitCounts(prober.sites, prober.units)

    def run(self) -> None:
        """Walk block after block; a block that does not fit into memory is halved."""
        low = 0
        while low < self.paths:
            at_once = self.prober.rows_at_once
            count = min(max(1, at_once // self.points), self.paths - low)
            steps = min(self.points, at_once)
            try:
                self._walk_paths(slice(low, low + count), steps)
            except RuntimeError as error:
                if not _is_out_of_memory(error) or at_once == 1:
                    raise
                self.prober.rows_at_once = max(1, min(at_once, count * steps) // 2)
                continue
            low += count

    def _walk_paths(self, rows: slice, steps: int) -> None:
        """Walk the paths from start to end, ``steps`` points a forward pass."""
        distances = self.distances.of(rows)
        ends: _Ends | None = {} if steps < self.points else None
        for begin in range(0, self.points, steps):
            self._step(rows, begin, min(begin + steps, self.points), distances, ends)

    def _step(self, rows: slice, begin: int, end: int, distances: _Distances, ends: _Ends | None) -> None:
        count, steps = rows.stop - rows.start, end - begin
        device = self.prober.device
        paths = torch.arange(rows.start, rows.stop, device=device).repeat_interleave(steps)
        joined = torch.zeros((count, steps), dtype=torch.int64, device=device)
        block = _Block(distances, joined, ends, self.counts)
        classes = self.prober.run(paths, self.t[begin:end].repeat(count), block.look)
        if classes is None:
            self.classes = None
        elif self.classes is not None:
            self.classes[rows, begin:end] = classes.cpu().numpy().reshape(count, steps)


@dataclass
class _Distances:
    """Distances by path and site, shape (P, L), int64, on the model's device."""

    r1: Tensor
    r2: Tensor
    r1_cumulative: Tensor

    def of(self, rows: slice) -> _Distances:
        """Those of some paths, as views, set to zero."""
        return _Distances(*(part[rows].zero_() for part in (self.r1, self.r2, self.r1_cumulative)))

    def arrays(self) -> tuple[Ints, Ints, Ints]:
        """(r1, r2, r1_cumulative), with sites that a pass left out as flat as they are."""
        r1, r2, cumulative = (part.cpu().numpy() for part in (self.r1, self.r2, self.r1_cumulative))
        return r1, r2, np.maximum.accumulate(cumulative, axis=1)


_Ends = dict[int, tuple[Code, Code]]
"""By site: code at the paths' starts and at the points where the last block ended."""


@dataclass
class _Block:
    """One forward pass over ``count`` paths and ``steps`` neighbouring points of each.

    Attributes:
        distances: of the block's paths, updated at each site.
        joined: shape (count, steps), distance from the start in all sites so far.
        ends: what the next block of the same paths needs, None where none follows.
        counts: of single units.
    """

    distances: _Distances
    joined: Tensor
    ends: _Ends | None
    counts: UnitCounts

    def look(self, place: int, reading: Reading) -> None:
        """Reduce a site's values to distances at once."""
        flat = self.counts.add(place, reading)
        code = flat.reshape(flat.shape[0], *self.joined.shape, flat.shape[-1])
        start = code[:, :, 0]
        if self.ends is not None:
            start = self._continue(place, code)
        from_start = torch.as_tensor(hamming(code, start[:, :, None]))
        self.joined += from_start
        self.distances.r2[:, place] += torch.as_tensor(hamming(code[:, :, 1:], code[:, :, :-1])).sum(-1)
        _raise_to(self.distances.r1[:, place], from_start.amax(1))
        _raise_to(self.distances.r1_cumulative[:, place], self.joined.amax(1))

    def _continue(self, place: int, code: Code) -> Code:
        """Join on to the last block; returns the code at the paths' starts."""
        assert self.ends is not None
        if place not in self.ends:
            self.ends[place] = (_copy(code[:, :, 0]), _copy(code[:, :, -1]))
            return code[:, :, 0]
        start, previous = self.ends[place]
        self.distances.r2[:, place] += torch.as_tensor(hamming(code[:, :, 0], previous))
        _copy_into(previous, code[:, :, -1])
        return start


def _raise_to(maximum: Tensor, values: Tensor) -> None:
    maximum.copy_(torch.maximum(maximum, values))


def _copy_into(room: Code, code: Code) -> None:
    if isinstance(room, Tensor):
        room.copy_(torch.as_tensor(code))
    else:
        np.copyto(room, np.asarray(code))


def _copy(code: Code) -> Code:
    return code.clone() if isinstance(code, Tensor) else code.copy()


def _is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, torch.cuda.OutOfMemoryError):
        return True
    text = str(error).lower()
    return "out of memory" in text or "can't allocate memory" in text or "not enough memory" in text
