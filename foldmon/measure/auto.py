"""Automatic folding: as many points and pairs as the wished precision needs, within a budget."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import torch

from foldmon.measure.adaptive import AdaptiveWalk
from foldmon.measure.continuous import chosen_sites, report_of
from foldmon.measure.events import Events, distances
from foldmon.measure.exact import ExactWalk
from foldmon.measure.levels import Levels
from foldmon.measure.linear import Shape
from foldmon.measure.pairs import Pairs
from foldmon.measure.prober import Prober
from foldmon.measure.report import FoldingReport
from foldmon.measure.sampled import measure_sampled
from foldmon.measure.statistics import Floats, Ints, bootstrap_interval, folding
from foldmon.measure.walks import Walk

DEFAULT_TOLERANCE = 0.01
BLOCK = 32
_TRIAL = 2
_ENOUGH_PAIRS = 32
_ENOUGH_FOLDED = 8
_FEWEST_PIECES, _MOST_PIECES = 4, 16
_MARGIN = 1.5  # between the mean cost of a path and what a block of them may take
_LARGEST_ROW = 4 * 2**20  # bytes


def measure_auto(
    prober: Prober,
    pairs: Pairs,
    layers: str | Iterable[str] | None,
    points: int,
    max_evaluations: int | None = None,
    tolerance: float | None = None,
) -> FoldingReport:
    """Folding of as many pairs as it takes, each as exactly as the budget affords.

    Paths are walked exactly where the model is linear in pieces and the budget pays for at least 32 (or
    all) pairs at the cost of the first two; else by adaptive refinement, which compares symbols in the
    middle of every piece with a straight line's. Pairs are added in blocks, in an order that is random
    and always the same, until phi's interval is narrower than the tolerance, the pairs are used up or the
    budget is spent; a note says which. The report's rows are the pairs used, in their given order.

    Whatever cannot be followed from point to point (integer symbols, half precision, layers that come
    and go, layers too large to keep) is sampled at ``points`` instead.

    Args:
        prober: the model on the lines that join ``pairs``, with all its sites.
        pairs: the ends.
        layers: names or patterns of the layers to report, None for all.
        points: points a path where only samples are possible.
        max_evaluations: budget, what sampling all pairs at ``points`` costs if None.
        tolerance: width of phi's 95% interval that is narrow enough, 0.01 if None.
    """
    search = _Search(prober, pairs, layers, max_evaluations or len(pairs) * points)
    try:
        search.check()
        with prober.active():
            return search.run(DEFAULT_TOLERANCE if tolerance is None else tolerance)
    except Exception as error:
        # Whatever kept the walk from its end, samples need far less of the model.
        report = _sampled(prober, pairs, layers, points, search.budget)
        return replace(report, notes=(*report.notes, f"sampled at equally spaced points: {error}"))


class _CannotWalk(Exception):
    """Sampling is the better method."""


class _Search:
    """Adds pairs until one of the limits is reached."""

    def __init__(self, prober: Prober, pairs: Pairs, layers: str | Iterable[str] | None, budget: int) -> None:
        self.began = time.perf_counter()
        self.prober, self.pairs, self.budget = prober, pairs, budget
        self.chosen = chosen_sites(prober, layers)
        self.order: Ints = np.random.default_rng(0).permutation(len(pairs))

    def check(self) -> None:
        """Tell early what cannot be walked."""
        dtype = self.prober.dtype
        if torch.finfo(dtype).bits < 32:
            raise _CannotWalk(f"{dtype} resolves too few points of a path")
        if sum(self.prober.units) * dtype.itemsize > _LARGEST_ROW:
            raise _CannotWalk("the layers are too large to keep their values at many points")

    def run(self, tolerance: float) -> FoldingReport:
        """Walk block after block."""
        walk = self._chosen_walk()
        used, reason = self._add_pairs(walk, tolerance)
        walk.max_evaluations = self.budget
        report = report_of(
            walk, self.pairs, np.sort(used), self.chosen, "auto", time.perf_counter() - self.began
        )
        return replace(report, notes=(*report.notes, f"{len(used)} of {len(self.pairs)} pairs: {reason}"))

    def _chosen_walk(self) -> Walk:
        """The exact walk of the first paths where it can be afforded for the others too, else another."""
        levels = Levels(self.prober, len(self.pairs), depth=int(self.chosen[-1]))
        trial = self.order[:_TRIAL]
        a_path = self.budget // min(len(self.pairs), _ENOUGH_PAIRS)
        if a_path >= _FEWEST_PIECES and self._may_afford(levels, trial, a_path):
            walk = ExactWalk(levels, self.prober.evaluations + a_path * len(trial))
            walk.run_all(trial)
            if not walk.unfinished:
                walk.max_evaluations = self.budget
                return walk
        # Middles double the pieces; about a sixth of them are surprised and looked at again.
        pieces = min(max(int(self._left / (2.4 * len(self.pairs))), _FEWEST_PIECES), _MOST_PIECES)
        return AdaptiveWalk(levels, self.budget, isolate=False, pieces=pieces)

    def _may_afford(self, levels: Levels, trial: Ints, a_path: int) -> bool:
        """Whether the codes of the ends alone do not tell that exact paths are too dear.

        Every symbol in which the ends differ is a breakpoint at least once.
        """
        left, right = (levels.evaluate(trial, np.full(len(trial), t), uses=1) for t in (0.0, 1.0))
        fewest = levels.differing(left, right, but_last=True) + 2
        levels.release(np.concatenate([left, right]))
        return levels.shape != Shape.CURVED and bool((fewest <= a_path).all())

    def _add_pairs(self, walk: Walk, tolerance: float) -> tuple[Ints, str]:
        """Walk more and more pairs; return those used, and why no more.

        Exact paths that the budget cut off are not used.
        """
        trial = isinstance(walk, ExactWalk)
        used = self.order[: _TRIAL if trial else 0]
        while len(used) < len(self.order):
            rest = self.order[len(used) : len(used) + BLOCK]
            a_path: float = _FEWEST_PIECES + 1
            if trial:
                a_path = _MARGIN * self.prober.evaluations / len(used)
            rest = rest[: max(int(self._left / a_path), len(used) == 0)]
            if len(rest) == 0:
                return used, _spent(self.budget)
            if not trial:
                # An even share of what is left, so that the last pairs are as fine as the first.
                share = self._left * len(rest) // (len(self.order) - len(used))
                walk.max_evaluations = self.prober.evaluations + max(share, 2 * len(rest))
            walk.run_all(rest)
            if isinstance(walk, ExactWalk) and not walk.unfinished.isdisjoint(rest.tolist()):
                whole = [path for path in rest.tolist() if path not in walk.unfinished]
                return np.concatenate([used, np.array(whole, dtype=np.int64)]), _spent(self.budget)
            used = np.concatenate([used, rest])
            if len(used) == len(self.order):
                break
            width = interval_width(self._network_folding(walk, used))
            if width <= tolerance:
                return used, f"phi's interval is {width:.2g} wide, narrower than the tolerance {tolerance:g}"
        return used, "all were used"

    @property
    def _left(self) -> int:
        return self.budget - self.prober.evaluations

    def _network_folding(self, walk: Walk, used: Ints) -> Floats:
        events = Events.joined(walk.parts)
        events = events.among(used, self.chosen, len(self.pairs), len(self.prober.sites))
        found = distances(events, len(used), len(self.chosen), tie=4 * walk.quantum)
        return folding(found.r1_cumulative[:, -1], found.r2.sum(1))


def interval_width(chi: Floats) -> float:
    """Width of phi's interval over the paths so far; infinite where too few paths fold to tell.

    Args:
        chi: shape (P,), network folding.
    """
    if len(chi) < _ENOUGH_PAIRS or np.count_nonzero(chi) < _ENOUGH_FOLDED:
        return float("inf")
    low, high = bootstrap_interval(chi, resamples=500)
    return high - low


def _spent(budget: int) -> str:
    return f"max_evaluations={budget:,} are spent"


def _sampled(
    prober: Prober, pairs: Pairs, layers: str | Iterable[str] | None, points: int, budget: int
) -> FoldingReport:
    """Equally spaced points, on as many pairs (one at least) as the budget affords."""
    count = min(len(pairs), max(1, budget // points))
    prober.choose(layers)
    points = max(2, min(points, budget))
    return replace(measure_sampled(prober, pairs[:count], points), method="auto")
