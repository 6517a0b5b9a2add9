"""Folding from n equally spaced points a path."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from foldmon.folding.model.prober import Prober
from foldmon.folding.model.reporting import report_of
from foldmon.folding.results.decision import decision_folding
from foldmon.folding.results.nested import STRIDES, Nested
from foldmon.folding.results.report import FoldingReport
from foldmon.folding.results.statistics import Ints
from foldmon.folding.sampled.walk import WalkedPaths, walk


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
