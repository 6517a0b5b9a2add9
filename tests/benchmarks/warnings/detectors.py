"""The detectors that are compared, and when each first warns in each run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tests.benchmarks.warnings.features import PAIRED, Run, held
from tests.benchmarks.warnings.tuning import (
    ALL_FOLDING,
    FOLDING,
    LOSS,
    OUTPUTS,
    Fit,
    best_single,
    cross_scores,
    mark,
    single,
    trees,
)

_GAPS = tuple(f"gap {name}" for name in PAIRED)


@dataclass(frozen=True)
class Detector:
    """A detector of the comparison.

    Attributes:
        name: in the table.
        fit: learns its score; it warns where that is above a mark at three probes in a row.
        needs: what it needs beside unlabelled held-out inputs.
    """

    name: str
    fit: Fit
    needs: str = "nothing"


DETECTORS = (
    Detector("foldmon, training loss logged", trees(FOLDING + OUTPUTS + LOSS), "training loss"),
    Detector("foldmon, nothing logged", trees(FOLDING + OUTPUTS)),
    Detector("the same without folding", trees(OUTPUTS + LOSS), "training loss"),
    Detector("the same without folding, nothing logged", trees(OUTPUTS)),
    Detector("folding alone, all its readings", trees(ALL_FOLDING)),
    Detector("best single signal of folding and classes", best_single((*ALL_FOLDING, "classes"))),
    Detector("best single signal of predictions", best_single(OUTPUTS)),
    Detector("best single signal of all", best_single(FOLDING + OUTPUTS + LOSS), "training loss"),
    Detector("best held-out against training pairs", best_single(_GAPS), "training inputs"),
    Detector("training loss alone", best_single(("loss",)), "training loss"),
    Detector("rule: level of phi", single(("phi", "recent"))),
    Detector("rule: drop of phi", single(("phi", "fall"))),
    Detector("rule: depth trend lost", single(("profile", "fall"))),
    Detector("growth of phi past its plateau", single(("phi", "rise"))),
    Detector("upturn of class changes", single(("changes", "rise"))),
    Detector("growth of the weights' norm", single(("weights", "since_early"))),
    Detector("labels of the probes' own inputs", single(("labelled", "rise")), "validation labels"),
    Detector("all validation labels", single(("all labelled", "rise")), "validation labels"),
)


@dataclass(frozen=True)
class Verdicts:
    """When a detector warned in each run.

    Attributes:
        name: of the detector.
        needs: what it needs beside unlabelled held-out inputs.
        warned: probe of the first warning in each run, or None.
    """

    name: str
    needs: str
    warned: list[int | None]


def family_left_out(runs: Sequence[Run]) -> list[Verdicts]:
    """Verdicts on each family of data, by detectors that learned from the others.

    A family's mark is set on the other families' scores, each by a detector that had not seen that family.
    """
    verdicts = []
    for detector in DETECTORS:
        scores = cross_scores(detector.fit, runs)
        marks = {}
        for family in {run.family for run in runs}:
            others = [place for place, run in enumerate(runs) if run.family != family]
            marks[family] = mark([scores[place] for place in others], [runs[place] for place in others])
        warned = [_first(score, marks[run.family]) for score, run in zip(scores, runs, strict=True)]
        verdicts.append(Verdicts(detector.name, detector.needs, warned))
    return verdicts + _early_stopping(runs)


def held_apart(tuned_on: Sequence[Run], runs: Sequence[Run]) -> list[Verdicts]:
    """Verdicts on runs by detectors and marks that were tuned on others."""
    verdicts = []
    for detector in DETECTORS:
        at = mark(cross_scores(detector.fit, tuned_on), tuned_on)
        score = detector.fit(tuned_on)
        verdicts.append(
            Verdicts(detector.name, detector.needs, [_first(held(score(run)), at) for run in runs])
        )
    return verdicts + _early_stopping(runs)


def _first(scores: np.ndarray, at: float) -> int | None:
    passed = np.flatnonzero(scores > at)
    return int(passed[0]) if len(passed) else None


def _early_stopping(runs: Sequence[Run]) -> list[Verdicts]:
    return [
        Verdicts(
            f"early stopping, patience {patience}",
            "validation labels",
            [run.outcome.stops[patience] for run in runs],
        )
        for patience in (5, 10)
    ]
