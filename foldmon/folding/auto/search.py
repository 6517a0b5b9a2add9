"""Automatic folding: as many points and pairs as the wished precision needs, within a budget."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Protocol

import numpy as np
import torch

from foldmon.folding.auto.extrapolation import FEWEST_POINTS, ExtrapolatedSamples
from foldmon.folding.exact import continuous
from foldmon.folding.exact.exact_walk import CurvedPath, ExactWalk
from foldmon.folding.exact.linearity import Linearity
from foldmon.folding.exact.trace import Trace
from foldmon.folding.model.prober import Prober
from foldmon.folding.model.reporting import report_of
from foldmon.folding.results.report import FoldingReport
from foldmon.folding.results.statistics import (
    Floats,
    Ints,
    bootstrap_interval,
)
from foldmon.folding.sampled.report import sampled_report

DEFAULT_TOLERANCE = 0.01
BLOCK = 32
_TRIAL = 2
_WORTH = 18  # evaluations that an exact path may cost: certainty for about twice the price
_ENOUGH_FOLDED = 8
_MOST_POINTS = 1025
# Share of phi's interval by which the last doubling of points may have moved phi. What extrapolation leaves
# of that was up to a fifth on the networks of tests/benchmarks/precision.py.
_MAY_MOVE = 0.6
_MARGIN = 1.5  # between the mean cost of a path and what a block of them may take
_LARGEST_ROW = 8 * 2**20  # bytes


def measure_auto(
    prober: Prober, points: int, max_evaluations: int | None = None, tolerance: float | None = None
) -> FoldingReport:
    """Folding of as many pairs as it takes, at as many points as it takes.

    Paths are walked exactly where that costs at most twice what few points do. Else they are sampled at
    nested sets of points, and what falls between the points is extrapolated (``auto/extrapolation.py``);
    r1 and r2 are then estimates and need not be whole numbers. The first 32 pairs tell how far doubling
    the points moves phi; they are doubled, from 5 on, until that is little beside the width that phi's
    interval will have. Pairs are added, in an order that is random and always the same, until phi's interval
    is narrower than the tolerance, the pairs are used up or the budget is spent; a note says which. The
    report's rows are the pairs used, in their given order.

    Whatever cannot be followed (integer symbols, half precision, layers that come and go) is sampled
    at ``points`` instead.

    Args:
        prober: the model on the paths, reading every site.
        points: points a path where only samples are possible.
        max_evaluations: budget, what sampling all pairs at ``points`` costs if None.
        tolerance: width of phi's 95% interval that is narrow enough, 0.01 if None.
    """
    return prober.measure(lambda: _auto_report(prober, points, max_evaluations, tolerance))


def _auto_report(
    prober: Prober, points: int, max_evaluations: int | None, tolerance: float | None
) -> FoldingReport:
    search = _Search(prober, max_evaluations or len(prober.pairs) * points)
    try:
        search.check()
        return search.run(DEFAULT_TOLERANCE if tolerance is None else tolerance)
    except Exception as error:
        # Whatever kept the walk from its end, samples need far less of the model.
        left = search.left if max_evaluations else search.budget
        return _sampled(prober, points, left, str(error))


class _CannotWalk(Exception):
    """Sampling is the better method."""


class _Method(Protocol):
    """How paths are walked."""

    @property
    def a_path(self) -> float:
        """Evaluations that a path is expected to cost."""

    def add(self, paths: Ints) -> Ints:
        """Walk paths; returns those that came to their end."""

    def chi(self, paths: Ints) -> Floats:
        """Network folding of walked paths."""


class _Exact:
    """Exact paths, of which the first have been walked."""

    def __init__(self, walk: ExactWalk, tried: Ints, budget: int) -> None:
        self.walk, self.tried = walk, tried
        self._walked = len(tried)
        walk.max_evaluations = budget

    @property
    def a_path(self) -> float:
        return _MARGIN * self.walk.trace.prober.evaluations / self._walked

    def add(self, paths: Ints) -> Ints:
        self.walk.run_all(paths)
        self._walked += len(paths)
        return np.array([path for path in paths.tolist() if path not in self.walk.unfinished], np.int64)

    def chi(self, paths: Ints) -> Floats:
        return continuous.distances_of(self.walk, paths).chi_network


class _Search:
    """Adds pairs until one of the limits is reached."""

    def __init__(self, prober: Prober, budget: int) -> None:
        self.prober, self.pairs, self.budget = prober, prober.pairs, budget
        self.order: Ints = np.random.default_rng(0).permutation(len(self.pairs))

    @property
    def left(self) -> int:
        """Evaluations that the budget still pays for."""
        return self.budget - self.prober.evaluations

    def check(self) -> None:
        """Tell early what cannot be walked."""
        dtype = self.prober.dtype
        if torch.finfo(dtype).bits < 32:
            raise _CannotWalk(f"{dtype} resolves too few points of a path")
        if sum(self.prober.units) * dtype.itemsize > _LARGEST_ROW:
            raise _CannotWalk("the layers are too large to keep their values at many points")
        if self.budget < 2 * _TRIAL + FEWEST_POINTS:
            raise _CannotWalk(_spent(self.budget))

    def run(self, tolerance: float) -> FoldingReport:
        """Walk block after block."""
        trace = Trace(self.prober)
        exact = self._exact(trace)
        if exact is not None:
            used, reason = self._add_pairs(exact, exact.tried, tolerance)
            report = continuous.report_of_events(exact.walk, np.sort(used), "auto")
        else:
            self.prober.narrow()
            samples = ExtrapolatedSamples(self.prober, curved=trace.linearity == Linearity.CURVED)
            used, reason = self._add_pairs(samples, self._pilot(samples, tolerance), tolerance)
            report = _report_of(samples, np.sort(used))
        return replace(report, notes=(*report.notes, f"{len(used)} of {len(self.pairs)} pairs: {reason}"))

    def _exact(self, trace: Trace) -> _Exact | None:
        """The exact walk of the first paths, None where exact paths are too dear."""
        trial = self.order[:_TRIAL]
        a_path = min(self.left // min(len(self.pairs), BLOCK), _WORTH)
        if not self._may_afford(trace, trial, a_path):
            return None
        walk = ExactWalk(trace, self.prober.evaluations + a_path * len(trial))
        try:
            walk.run_all(trial)
        except CurvedPath:
            return None
        if walk.unfinished:
            return None
        return _Exact(walk, trial, self.budget)

    def _may_afford(self, trace: Trace, trial: Ints, a_path: int) -> bool:
        """Whether the codes of the ends alone do not tell that exact paths are too dear.

        Every symbol in which the ends differ is a breakpoint at least once.
        """
        ends = trace.evaluate(np.tile(trial, 2), np.repeat([0.0, 1.0], len(trial)), uses=1)
        fewest = trace.differing(*ends.reshape(2, -1), but_last=True) + 2
        trace.release(ends)
        return trace.linearity != Linearity.CURVED and bool((fewest <= a_path).all())

    def _pilot(self, samples: ExtrapolatedSamples, tolerance: float) -> Ints:
        """Walk the first pairs, and choose the points by them; returns the pairs."""
        pilot = self.order[: min(BLOCK, self.left // samples.points)]
        samples.scout(pilot)
        while abs(samples.moved(pilot)) > self._may_move(samples, pilot, tolerance):
            # Pairs come first: their number is what the interval hangs on.
            pairs = self._pairs_wanted(samples, pilot, tolerance)
            cost = pairs * (2 * samples.points - 1)
            if samples.points >= _MOST_POINTS or cost > len(pilot) * samples.points + self.left:
                self.prober.notes["more points a path would tell more, and are not paid for"] = None
                break
            samples.double()
        return pilot

    def _pairs_wanted(self, samples: ExtrapolatedSamples, pilot: Ints, tolerance: float) -> float:
        """How many pairs the tolerance asks for, or how many there are."""
        wanted = (4 * _spread(samples.chi(pilot)) / tolerance) ** 2
        return min(max(wanted, len(pilot)), len(self.pairs))

    def _may_move(self, samples: ExtrapolatedSamples, pilot: Ints, tolerance: float) -> float:
        """By how much the last doubling may have moved phi, beside the width its interval will have."""
        most = len(pilot) + self.left / samples.points
        pairs = min(self._pairs_wanted(samples, pilot, tolerance), most)
        width = max(tolerance, 4 * _spread(samples.chi(pilot)) / math.sqrt(pairs))
        # Of the fewest points less is known: their extrapolation is trusted half as far.
        return width * (_MAY_MOVE / 2 if samples.points == FEWEST_POINTS else _MAY_MOVE)

    def _add_pairs(self, method: _Method, used: Ints, tolerance: float) -> tuple[Ints, str]:
        """Walk more and more pairs; return those used, and why no more.

        Exact paths that the budget cut off are not used.
        """
        while len(used) < len(self.order):
            width = interval_width(method.chi(used))
            # One standard error of a width above it: else those that are narrow by chance end the search.
            likely = width * (1 + (2 * len(used)) ** -0.5)
            if likely <= tolerance:
                return used, f"phi's interval is {width:.2g} wide, narrower than the tolerance {tolerance:g}"
            rest = self.order[len(used) : len(used) + next_block(len(used), likely, tolerance)]
            rest = rest[: max(0, int(self.left / method.a_path))]
            done = method.add(rest) if len(rest) else rest
            used = np.concatenate([used, done])
            if len(done) < len(rest) or len(rest) == 0:
                return used, _spent(self.budget)
        return used, "all were used"


def _spread(chi: Floats) -> float:
    return float(np.std(chi, ddof=1)) if len(chi) > 1 else 0.0


def interval_width(chi: Floats) -> float:
    """Width of phi's interval over the paths so far; infinite where too few paths fold to tell.

    Args:
        chi: shape (P,), network folding.
    """
    if len(chi) < BLOCK or np.count_nonzero(chi) < _ENOUGH_FOLDED:
        return float("inf")
    low, high = bootstrap_interval(chi, resamples=500)
    return high - low


def next_block(used: int, width: float, tolerance: float) -> int:
    """Pairs to add before looking again: most of those that the width, falling as their root, asks for.

    The fewer looks, the less an interval that is narrow by chance decides when to stop.
    """
    if not np.isfinite(width):
        return BLOCK
    return max(BLOCK, int(0.75 * used * ((width / tolerance) ** 2 - 1)))


def _report_of(samples: ExtrapolatedSamples, paths: Ints) -> FoldingReport:
    note = (
        f"r1 and r2 are extrapolated from {samples.points} points a path; "
        f"the last doubling of points moved phi by {samples.moved(paths):.2g}"
    )
    return report_of(
        samples.prober,
        samples.distances.of(paths),
        samples.counts,
        continuous.decision_of(samples.classes, samples.prober, paths),
        method="auto",
        paths=paths,
        notes=(note,),
    )


def _spent(budget: int) -> str:
    return f"max_evaluations={budget:,} are spent"


def _sampled(prober: Prober, points: int, left: int, why: str) -> FoldingReport:
    """Equally spaced points, on as many pairs (one at least) as the budget affords."""
    count = min(len(prober.pairs), max(1, left // points))
    prober.narrow()
    report = replace(sampled_report(prober, max(2, min(points, left)), np.arange(count)), method="auto")
    note = f"{count} of {len(prober.pairs)} pairs, sampled at equally spaced points: {why}"
    return replace(report, notes=(*report.notes, note))
