"""Distances along the walked paths, from the codes of one block of points after another."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from foldmon.folding.symbols.activations import Reading
from foldmon.folding.symbols.codes import Code, Scratch, hamming
from foldmon.folding.symbols.units import UnitCounts


@dataclass
class RunningDistances:
    """Distances so far by site and path, shape (L, P), int64, on the model's device."""

    r1: Tensor
    r2: Tensor
    r1_cumulative: Tensor

    def of(self, rows: slice) -> RunningDistances:
        """Those of some paths, as views, set to zero."""
        return RunningDistances(*(part[:, rows].zero_() for part in (self.r1, self.r2, self.r1_cumulative)))


_Ends = dict[int, tuple[Code, Code]]
"""By site: code at the paths' starts and at the points where the last block ended."""


class Grid:
    """The walk at every ``stride``-th point, block after block.

    Args:
        stride: 1 for all points.
        distances: of the block's paths, updated at each site.
        ends: empty, filled with what the next block of the same paths needs; None where none follows.
        profile: shape (sites, n, count), where the distances from the start are kept, None for nowhere.
    """

    def __init__(
        self, stride: int, distances: RunningDistances, ends: _Ends | None, profile: Tensor | None
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
class Block:
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
    grids: list[Grid]
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
        room.copy_(torch.as_tensor(code, device=room.device))
    else:
        np.copyto(room, np.asarray(code))


def _copy(code: Code) -> Code:
    return code.clone() if isinstance(code, Tensor) else code.copy()
