"""Folding of continuous paths, for a given set of pairs: ``method="exact"``."""

from __future__ import annotations

import time
from collections.abc import Iterable

import numpy as np
import torch

from foldmon.folding.data.pairs import Pairs
from foldmon.folding.exact.adaptive_walk import AdaptiveWalk
from foldmon.folding.exact.events import Events, distances
from foldmon.folding.exact.exact_walk import CurvedPath, ExactWalk
from foldmon.folding.exact.trace import NotTraceable, Trace
from foldmon.folding.exact.walk import Walk
from foldmon.folding.model.names import choose
from foldmon.folding.model.prober import Prober
from foldmon.folding.results.decision import DecisionFolding, decision_folding, ordered_classes
from foldmon.folding.results.report import FoldingReport
from foldmon.folding.results.statistics import Floats, Ints

_LEAST_EVALUATIONS = 2  # a path: its ends


def chosen_sites(prober: Prober, layers: str | Iterable[str] | None) -> Ints:
    """Indices of the sites that ``layers`` asks for, ascending."""
    names = choose(prober.sites, layers)
    return np.array([place for place, site in enumerate(prober.sites) if site in names])


def measure_exact(
    prober: Prober, pairs: Pairs, layers: str | Iterable[str] | None, max_evaluations: int | None
) -> FoldingReport:
    """Folding of the continuous paths; see :class:`ExactWalk` and, for curved ones, :class:`AdaptiveWalk`.

    Args:
        prober: the model on the lines that join ``pairs``, with all its sites.
        pairs: the ends.
        layers: names or patterns of the layers to report, None for all.
        max_evaluations: bound of the evaluations, at least two a path; None for none.

    Raises:
        ValueError: the bound is too small, or the model can be measured by samples only.
    """
    began = time.perf_counter()
    paths = np.arange(len(pairs))
    if max_evaluations is not None and max_evaluations < _LEAST_EVALUATIONS * len(pairs):
        raise ValueError(
            f"max_evaluations={max_evaluations} does not pay for both ends of {len(pairs)} paths; "
            f"allow at least {_LEAST_EVALUATIONS * len(pairs)} or pass fewer pairs"
        )
    if torch.finfo(prober.dtype).bits < 32:
        raise ValueError(
            f"{prober.dtype} resolves too few points of a path for exact folding; "
            "pass dtype=torch.float32, which measures a private copy of the model"
        )
    chosen = chosen_sites(prober, layers)
    trace = Trace(prober, len(pairs), depth=int(chosen[-1]))
    walk: Walk = ExactWalk(trace, max_evaluations)
    try:
        with prober.active():
            try:
                # Under a bound a few paths at a time come to their end, instead of all coming half-way.
                walk.run_all(paths, at_once=None if max_evaluations is None else max(1, len(paths) // 8))
            except CurvedPath:
                trace.restart()
                walk = AdaptiveWalk(trace, max_evaluations)
                walk.run_all(paths)
    except NotTraceable as error:
        raise ValueError(f'this model has no exact folding: {error}; use method="sampled"') from error
    return report_of(walk, pairs, paths, chosen, "exact", time.perf_counter() - began)


def report_of(
    walk: Walk, pairs: Pairs, paths: Ints, chosen: Ints, method: str, seconds: float
) -> FoldingReport:
    """The report of a finished walk.

    Args:
        walk: over ``paths``.
        pairs: the ends of all paths.
        paths: indices of the walked pairs, ascending; the report has one row for each.
        chosen: indices of the sites to report.
        method: what the report calls it.
        seconds: wall time of the measurement.
    """
    prober, counts = walk.trace.prober, walk.trace.counts
    events = Events.joined(walk.parts).among(paths, chosen, len(pairs), len(prober.sites))
    found = distances(events, len(paths), len(chosen), tie=4 * walk.quantum)
    return FoldingReport(
        layers=tuple(prober.sites[site] for site in chosen),
        units=tuple(prober.units[site] for site in chosen),
        r1=found.r1,
        r2=found.r2,
        r1_cumulative=found.r1_cumulative,
        method=method,
        exact=isinstance(walk, ExactWalk) and walk.unfinished.isdisjoint(paths.tolist()),
        evaluations=prober.evaluations,
        seconds=seconds,
        nonfinite=counts.nonfinite[chosen],
        dead=counts.dead[chosen],
        saturated=counts.saturated[chosen],
        coverage=prober.coverage,
        decision=decision_of(walk.trace.classes, prober, paths, len(pairs)),
        classes=None if pairs.classes is None else pairs.classes[paths],
        class_names=pairs.class_names,
        notes=counts.notes + tuple(prober.notes) + _notes(walk, paths),
    )


def decision_of(
    classes: list[tuple[Ints, Floats, Ints]] | None, prober: Prober, paths: Ints, all_paths: int
) -> DecisionFolding | None:
    """Decision folding of some paths, from parts as :func:`ordered_classes` takes them."""
    if classes is None:
        return None
    ordered, weights = ordered_classes(classes, all_paths)
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
