"""Folding at nested sets of points, and what it tells of the changes that fall between them.

Sampling misses a unit that changes its symbol and returns within one gap, so that sampled folding is too low.
Halving the gaps finds part of what was missed. Where the pre-activations are straight in pieces, a return is
a dip of random depth and the number of returns missed falls as the gap, in theory; where they are curved, it
falls as its square. What the last halving changed therefore tells what the next ones would: the distances
are extrapolated by it (Richardson extrapolation), path by path, so that the error of the extrapolation
shows in the spread over paths.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from foldmon.folding.exact.trace import NotTraceable
from foldmon.folding.model.prober import Prober
from foldmon.folding.results.distances import Distances
from foldmon.folding.results.nested import beyond
from foldmon.folding.results.statistics import Floats, Ints
from foldmon.folding.symbols.activations import Reading
from foldmon.folding.symbols.codes import Code, hamming
from foldmon.folding.symbols.units import UnitCounts

FEWEST_POINTS = 5
# What all further halvings find, over what the last one found: 1/3 if errors fall as the square of the gap,
# 1 if as the gap. The first is what smooth networks show; networks straight in pieces show 0.6 to 0.9.
_STILL_MISSED_CURVED, _STILL_MISSED_STRAIGHT = 1 / 3, 0.8


class ExtrapolatedSamples:
    """Walks paths at 2**k + 1 equally spaced points each, and extrapolates.

    Args:
        prober: the model on the paths, reading the sites to measure.
        curved: whether some part of the model is not linear in pieces.

    Attributes:
        points: of the paths to walk next, 5 to begin with.
        distances: of all paths, extrapolated; NaN where a path was not walked.
        counts: of single units.
        classes: predicted classes, as (paths, t, class); None without classes.
    """

    def __init__(self, prober: Prober, *, curved: bool) -> None:
        paths = len(prober.pairs)
        self.prober, self.points = prober, FEWEST_POINTS
        self.still_missed = _STILL_MISSED_CURVED if curved else _STILL_MISSED_STRAIGHT
        self.distances = Distances(*(np.full((paths, len(prober.sites)), np.nan) for _ in range(3)))
        self.counts = UnitCounts(prober.sites, prober.units)
        self.classes: list[tuple[Ints, Floats, Ints]] | None = []
        self._moved: Floats = np.full(paths, np.nan)
        self._scouted: tuple[Ints, list[Code]] = (np.zeros(0, dtype=np.int64), [])

    @property
    def a_path(self) -> float:
        """Evaluations that a path costs."""
        return self.points

    def chi(self, paths: Ints) -> Floats:
        """Network folding of walked paths, extrapolated."""
        return self.distances.of(paths).chi_network

    def moved(self, paths: Ints) -> float:
        """By how much the last doubling of points moved phi of these paths."""
        return float(self._moved[paths].mean())

    def scout(self, paths: Ints) -> None:
        """Walk the first paths, and keep their codes for :meth:`double`."""
        self._scouted = paths, self._codes(paths, np.linspace(0, 1, self.points, dtype=np.float64))
        self._read(*self._scouted)

    def double(self) -> None:
        """Twice the points from now on; the scouted paths get those between their old ones."""
        self.points = 2 * self.points - 1
        paths, old = self._scouted
        new = self._codes(paths, np.linspace(0, 1, self.points, dtype=np.float64)[1::2])
        self._scouted = paths, [_interleaved(a, b) for a, b in zip(old, new, strict=True)]
        self._read(*self._scouted)

    def add(self, paths: Ints) -> Ints:
        """Walk the given paths; returns them."""
        at_once = max(1, self.prober.rows_at_once // self.points)
        t = np.linspace(0, 1, self.points, dtype=np.float64)
        for low in range(0, len(paths), at_once):
            block = paths[low : low + at_once]
            self._read(block, self._codes(block, t))
        return paths

    def _read(self, paths: Ints, codes: list[Code]) -> None:
        fine, coarse = _distances(codes, 1), _distances(codes, 2)
        found, own = beyond(fine, coarse, self.still_missed), self.distances
        own.r1[paths], own.r2[paths], own.r1_cumulative[paths] = found.r1, found.r2, found.r1_cumulative
        self._moved[paths] = fine.chi_network - coarse.chi_network

    def _codes(self, paths: Ints, at: Floats) -> list[Code]:
        """Of each site the codes of all paths at the positions, shape (planes, paths, positions, words)."""
        row_paths, t = np.repeat(paths, len(at)), np.tile(at, len(paths))
        parts: list[list[Code]] = [[] for _ in self.prober.sites]

        def look(site: int, reading: Reading) -> None:
            parts[site].append(self.counts.add(site, reading))

        device, size = self.prober.device, self.prober.rows_at_once
        for low in range(0, len(t), size):
            part = slice(low, low + size)
            rows = torch.from_numpy(row_paths[part]).to(device), torch.from_numpy(t[part]).to(device)
            self._note_classes(row_paths[part], t[part], self.prober.run(*rows, look))
        passes = -(-len(t) // size)
        if any(len(seen) != passes for seen in parts):
            raise NotTraceable("its activation layers do not run in the same order in every pass")
        joined = [_joined(seen, axis=1) for seen in parts]
        return [code.reshape(len(code), len(paths), len(at), code.shape[-1]) for code in joined]

    def _note_classes(self, paths: Ints, t: Floats, classes: Tensor | None) -> None:
        if classes is None:
            self.classes = None
        elif self.classes is not None:
            self.classes.append((paths, t, classes.cpu().numpy()))


def _joined(parts: list[Code], axis: int) -> Code:
    if len(parts) == 1:
        return parts[0]
    if isinstance(parts[0], Tensor):
        return torch.cat([torch.as_tensor(part, device=parts[0].device) for part in parts], dim=axis)
    joined: Code = np.concatenate([np.asarray(part) for part in parts], axis=axis)
    return joined


def _interleaved(old: Code, new: Code) -> Code:
    """Codes at the old positions and at those between them, in order."""
    count = old.shape[2]
    both = _joined([old, new], axis=2)
    order = np.argsort(np.concatenate([np.arange(count), np.arange(count - 1) + 0.5]))
    return both[:, :, order]


def _distances(codes: list[Code], stride: int) -> Distances:
    """Distances at every ``stride``-th point."""
    r1, r2, cumulative = [], [], []
    joined = torch.zeros(1, device="cpu")
    for code in codes:
        grid = code[:, :, ::stride]
        away = hamming(grid, grid[:, :, :1])
        joined = joined.to(away) + away
        r1.append(away.amax(1))
        r2.append(hamming(grid[:, :, 1:], grid[:, :, :-1]).sum(1))
        cumulative.append(joined.amax(1))
    return Distances(*(torch.stack(c, dim=1).double().cpu().numpy() for c in (r1, r2, cumulative)))
