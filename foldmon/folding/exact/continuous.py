"""Folding of continuous paths, for a given set of pairs: ``method="exact"``."""

from __future__ import annotations

import numpy as np
import torch

from foldmon.folding.exact.adaptive_walk import AdaptiveWalk
from foldmon.folding.exact.events import Events, distances
from foldmon.folding.exact.exact_walk import CurvedPath, ExactWalk
from foldmon.folding.exact.trace import NotTraceable, Trace
from foldmon.folding.exact.walk import Walk
from foldmon.folding.model.prober import Prober
from foldmon.folding.model.reporting import report_of
from foldmon.folding.results.decision import DecisionFolding, decision_folding, ordered_classes
from foldmon.folding.results.distances import Distances
from foldmon.folding.results.report import FoldingReport
from foldmon.folding.results.statistics import Floats, Ints

_LEAST_EVALUATIONS = 2  # a path: its ends


def measure_exact(prober: Prober, max_evaluations: int | None) -> FoldingReport:
    """Folding of the continuous paths; see :class:`ExactWalk` and, for curved ones, :class:`AdaptiveWalk`.

    Args:
        prober: the model on the paths, reading every site.
        max_evaluations: bound of the evaluations, at least two a path; None for none.

    Raises:
        ValueError: the bound is too small, or the model can be measured by samples only.
    """
    count = len(prober.pairs)
    if max_evaluations is not None and max_evaluations < _LEAST_EVALUATIONS * count:
        raise ValueError(
            f"max_evaluations={max_evaluations} does not pay for both ends of {count} paths; "
            f"allow at least {_LEAST_EVALUATIONS * count} or pass fewer pairs"
        )
    if torch.finfo(prober.dtype).bits < 32:
        raise ValueError(
            f"{prober.dtype} resolves too few points of a path for exact folding; "
            "pass dtype=torch.float32, which measures a private copy of the model"
        )
    try:
        return prober.measure(lambda: _exact_report(prober, max_evaluations))
    except NotTraceable as error:
        raise ValueError(f'this model has no exact folding: {error}; use method="sampled"') from error


def _exact_report(prober: Prober, max_evaluations: int | None) -> FoldingReport:
    paths = np.arange(len(prober.pairs))
    trace = Trace(prober)
    walk: Walk = ExactWalk(trace, max_evaluations)
    try:
        # Under a bound a few paths at a time come to their end, instead of all coming half-way.
        walk.run_all(paths, at_once=None if max_evaluations is None else max(1, len(paths) // 8))
    except CurvedPath:
        trace.restart()
        walk = AdaptiveWalk(trace, max_evaluations)
        walk.run_all(paths)
    return report_of_events(walk, paths, "exact")


def distances_of(walk: Walk, paths: Ints) -> Distances:
    """What the events found so far make of some paths, in the layers that were asked for."""
    prober = walk.trace.prober
    events = Events.joined(walk.parts).among(paths, prober.asked, len(prober.pairs), len(prober.sites))
    return distances(events, len(paths), len(prober.asked), tie=4 * walk.quantum)


def report_of_events(walk: Walk, paths: Ints, method: str) -> FoldingReport:
    """The report of a finished walk.

    Args:
        walk: over ``paths``.
        paths: places of the walked pairs, ascending; the report has one row for each.
        method: what the report calls it.
    """
    return report_of(
        walk.trace.prober,
        distances_of(walk, paths),
        walk.trace.counts,
        decision_of(walk.trace.classes, walk.trace.prober, paths),
        method=method,
        exact=isinstance(walk, ExactWalk) and walk.unfinished.isdisjoint(paths.tolist()),
        paths=paths,
        notes=_notes(walk, paths),
    )


def decision_of(
    classes: list[tuple[Ints, Floats, Ints]] | None, prober: Prober, paths: Ints
) -> DecisionFolding | None:
    """Decision folding of some paths, from parts as :func:`ordered_classes` takes them."""
    if classes is None:
        return None
    ordered, weights = ordered_classes(classes, len(prober.pairs))
    certainty = prober.certainty.cpu().double().numpy()
    return decision_folding(ordered[paths], weights[paths], certainty[paths])


def _notes(walk: Walk, paths: Ints) -> tuple[str, ...]:
    notes = []
    parts = list(walk.trace.curved)
    if isinstance(walk, AdaptiveWalk):
        named = ", ".join(parts[:3]) + (", ..." if len(parts) > 3 else "")
        notes.append(f"refined adaptively, not exact: {named} not linear in pieces")
    unfinished = len(walk.unfinished.intersection(paths.tolist()))
    if unfinished and isinstance(walk, AdaptiveWalk):
        bound = f"max_evaluations={walk.max_evaluations:,}"
        notes.append(f"{bound} ended the refinement of {unfinished} of {len(paths)} paths")
    elif unfinished:
        notes.append(
            f"max_evaluations={walk.max_evaluations:,} reached: {len(paths) - unfinished} of {len(paths)} "
            "paths are finished, the others are interpolated between the points evaluated by then"
        )
    return tuple(notes)
