"""Sampled folding: n equally spaced points a path."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

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
    return FoldingReport(
        layers=prober.sites,
        units=prober.units,
        r1=walk.r1,
        r2=walk.r2,
        r1_cumulative=walk.r1_cumulative,
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

    Of a block's codes only the paths' first and last ones outlive it, so that memory does not grow with
    the points, and no activation is ever kept.
    """

    def __init__(self, prober: Prober, paths: int, points: int) -> None:
        self.prober = prober
        self.paths, self.points = paths, points
        self.t = torch.linspace(0, 1, points, dtype=torch.float64).to(prober.device)
        shape = (paths, len(prober.sites))
        self.r1: Ints = np.zeros(shape, dtype=np.int64)
        self.r2: Ints = np.zeros(shape, dtype=np.int64)
        self.r1_cumulative: Ints = np.zeros(shape, dtype=np.int64)
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
                self._walk_paths(low, low + count, steps)
            except (torch.OutOfMemoryError, RuntimeError) as error:
                if not _is_out_of_memory(error) or at_once == 1:
                    raise
                self.prober.rows_at_once = max(1, min(at_once, count * steps) // 2)
                continue
            low += count

    def _walk_paths(self, low: int, high: int, steps: int) -> None:
        """Walk paths low..high from start to end, ``steps`` points a forward pass."""
        rows = slice(low, high)
        self.r1[rows], self.r2[rows], self.r1_cumulative[rows] = 0, 0, 0
        ends: dict[int, tuple[Code, Code]] = {}
        for begin in range(0, self.points, steps):
            self._step(rows, begin, min(begin + steps, self.points), ends)

    def _step(self, rows: slice, begin: int, end: int, ends: dict[int, tuple[Code, Code]]) -> None:
        count, steps = rows.stop - rows.start, end - begin
        device = self.prober.device
        paths = torch.arange(rows.start, rows.stop, device=device).repeat_interleave(steps)
        block = _Block(count, steps, ends, self.counts)
        classes = self.prober.run(paths, self.t[begin:end].repeat(count), block.look)
        self._add(rows, block)
        if classes is None:
            self.classes = None
        elif self.classes is not None:
            self.classes[rows, begin:end] = classes.cpu().numpy().reshape(count, steps)

    def _add(self, rows: slice, block: _Block) -> None:
        joined: Any = 0
        for place in range(len(self.prober.sites)):
            if place in block.from_start:
                from_start = _array(block.from_start[place])
                joined = joined + from_start
                np.maximum(self.r1[rows, place], from_start.max(1), out=self.r1[rows, place])
                self.r2[rows, place] += _array(block.walked[place])
            if not isinstance(joined, int):
                cumulative = self.r1_cumulative[rows, place]
                np.maximum(cumulative, joined.max(1), out=cumulative)


@dataclass
class _Block:
    """Distances of one forward pass over ``count`` paths and ``steps`` neighbouring points."""

    count: int
    steps: int
    ends: dict[int, tuple[Code, Code]]
    counts: UnitCounts
    from_start: dict[int, Any] = field(default_factory=dict)
    walked: dict[int, Any] = field(default_factory=dict)

    def look(self, place: int, reading: Reading) -> None:
        """Reduce a site's values to distances at once."""
        flat = self.counts.add(place, reading)
        code = flat.reshape(flat.shape[0], self.count, self.steps, flat.shape[-1])
        if place in self.ends:
            start, previous = self.ends[place]
            into = hamming(code[:, :, 0], previous)
        else:
            start, into = code[:, :, 0], 0
        self.from_start[place] = hamming(code, start[:, :, None])
        self.walked[place] = hamming(code[:, :, 1:], code[:, :, :-1]).sum(-1) + into
        self.ends[place] = (_kept(start), _kept(code[:, :, -1]))


def _kept(code: Code) -> Code:
    """A copy that does not keep the block's whole code alive."""
    return code.clone() if isinstance(code, Tensor) else code.copy()


def _array(counts: Any) -> Ints:
    return counts.cpu().numpy() if isinstance(counts, Tensor) else counts


def _is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, torch.OutOfMemoryError):
        return True
    text = str(error).lower()
    return "out of memory" in text or "can't allocate memory" in text or "not enough memory" in text
