"""From what a method has measured through a prober to the report."""

from __future__ import annotations

import time
from collections.abc import Sequence

from foldmon.folding.model.prober import Prober
from foldmon.folding.results.decision import DecisionFolding
from foldmon.folding.results.distances import Distances
from foldmon.folding.results.report import FoldingReport
from foldmon.folding.results.statistics import Ints
from foldmon.folding.symbols.units import UnitCounts


def report_of(
    prober: Prober,
    found: Distances,
    counts: UnitCounts,
    decision: DecisionFolding | None,
    *,
    method: str,
    exact: bool = False,
    paths: Ints | None = None,
    notes: Sequence[str] = (),
) -> FoldingReport:
    """The report of the measurement under way.

    Args:
        prober: that measured.
        found: of the walked paths, in the layers that ``prober.asked`` names.
        counts: of all sites that the prober reads.
        decision: of the walked paths, None where the model predicts no classes.
        method: what the report calls it.
        exact: whether the distances are those of the continuous paths, certified.
        paths: places of the walked pairs; None where all were walked.
        notes: what else to know of the numbers.
    """
    pairs, asked = prober.pairs, prober.asked
    classes = pairs.classes if pairs.classes is None or paths is None else pairs.classes[paths]
    return FoldingReport(
        r1=found.r1,
        r2=found.r2,
        r1_cumulative=found.r1_cumulative,
        layers=tuple(prober.sites[place] for place in asked),
        units=tuple(prober.units[place] for place in asked),
        method=method,
        exact=exact,
        evaluations=prober.evaluations,
        seconds=time.perf_counter() - prober.began,
        nonfinite=counts.nonfinite[asked],
        dead=counts.dead[asked],
        saturated=counts.saturated[asked],
        coverage=prober.coverage,
        decision=decision,
        classes=classes,
        class_names=pairs.class_names,
        notes=(*counts.notes, *prober.notes, *notes),
        measured=None if paths is None or len(paths) == len(pairs) else paths,
    )
