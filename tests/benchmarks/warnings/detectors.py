"""The detectors that are compared: each gives a score at every probe and warns above a mark."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from foldmon.warning.rule import Rule
from tests.benchmarks.warnings.features import Key, Run, held
from tests.benchmarks.warnings.tuning import FOLDING, LOSS, OUTPUTS, Tuner

_LITERATURE: dict[str, tuple[Key, int]] = {
    "rule: level of phi": (("phi", "recent"), 1),
    "rule: drop of phi": (("phi", "fall"), 1),
    "rule: depth trend lost": (("profile", "fall"), 1),
    "growth of phi past its plateau": (("phi", "rise"), 1),
    "upturn of class changes": (("changes", "rise"), 1),
    "growth of the weights' norm": (("weights", "since_early"), 1),
}


@dataclass(frozen=True)
class Candidate:
    """A detector of the comparison.

    Attributes:
        name: in the table.
        warns_at: probe at which it first warns in a run, or None.
        needs: what it needs beside unlabelled held-out inputs.
    """

    name: str
    warns_at: Callable[[Run], int | None]
    needs: str = ""


def above(score: Callable[[Run], np.ndarray], mark: float) -> Callable[[Run], int | None]:
    """First probe at which three scores in a row are above the mark."""

    def warns_at(run: Run) -> int | None:
        passed = np.flatnonzero(held(score(run)) > mark)
        return int(passed[0]) if len(passed) else None

    return warns_at


def rule_score(rule: Rule) -> Callable[[Run], np.ndarray]:
    """The score of a rule at every probe."""

    def score(run: Run) -> np.ndarray:
        parts = [
            term.weight * np.tanh((run.signals[term.reading, term.shape] - term.centre) / term.scale)
            for term in rule.terms
        ]
        return rule.bias + np.sum(parts, axis=0)

    return score


def candidates(tuner: Tuner) -> list[Candidate]:
    """All detectors, those with weights and marks tuned on the tuner's runs."""
    rules = {
        "foldmon, training loss logged": (FOLDING + OUTPUTS + LOSS, "training loss"),
        "foldmon, nothing logged": (FOLDING + OUTPUTS, ""),
        "the same without the outputs' certainty": (FOLDING, ""),
        "the same of the training loss and certainty alone": (OUTPUTS + LOSS, "training loss"),
    }
    rows = [
        Candidate(name, above(rule_score(rule := tuner.rule(keys)), rule.warn), needs)
        for name, (keys, needs) in rules.items()
    ]
    keys = list(tuner.ranges)
    groups = {
        "best single signal of folding and classes": (list(FOLDING), ""),
        "best single signal of all": (list(FOLDING + OUTPUTS + LOSS), "training loss"),
        "best held-out against training pairs": (
            [k for k in keys if k[0].startswith("gap ")],
            "training inputs",
        ),
        "training loss alone": ([key for key in keys if key[0] == "loss"], "training loss"),
    }
    for name, (group, needs) in groups.items():
        key, sign = _best(tuner, group)
        rows.append(_single(tuner, name, key, sign, needs))
    rows += [_single(tuner, name, key, sign) for name, (key, sign) in _LITERATURE.items()]
    return rows + [
        Candidate(
            f"early stopping, patience {patience}",
            lambda run, p=patience: run.outcome.stops[p],
            "validation labels",
        )
        for patience in (5, 10)
    ]


def _best(tuner: Tuner, keys: list[Key]) -> tuple[Key, int]:
    def quality(choice: tuple[Key, int]) -> float:
        key, sign = choice
        return tuner.quality([held(sign * run.signals[key]) for run in tuner.runs])

    return max(((key, sign) for key in keys for sign in (1, -1)), key=quality)


def _single(tuner: Tuner, name: str, key: Key, sign: int, needs: str = "") -> Candidate:
    def score(run: Run) -> np.ndarray:
        return sign * run.signals[key]

    return Candidate(name, above(score, tuner.mark([held(score(run)) for run in tuner.runs])), needs)
