"""The detectors that are compared: each gives a score at every probe and warns above a mark."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from foldmon.warning.rule import Rule
from tests.benchmarks.warnings.features import Key, Run, held
from tests.benchmarks.warnings.tuning import Tuner

FOLDING_ONLY = "folding and classes only"
_OF_LOSS = ("loss", "doubt_over_loss")
_OF_OUTPUTS = ("unsure", "doubt", "turned_surely", "surprise")
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
        detail: what was chosen on the development part.
    """

    name: str
    warns_at: Callable[[Run], int | None]
    needs: str = ""
    detail: str = ""


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


def rule_candidates(keys: list[Key]) -> dict[str, list[Key]]:
    """The signals that each of the fitted rules may use."""
    plain = [key for key in keys if not key[0].startswith("gap ") and key[0] not in ("weights", "val_loss")]
    without_loss = [key for key in plain if key[0] not in _OF_LOSS]
    return {
        "with loss": plain,
        "without loss": without_loss,
        FOLDING_ONLY: [key for key in without_loss if key[0] not in _OF_OUTPUTS],
    }


def candidates(rules: Mapping[str, Rule], tuner: Tuner) -> list[Candidate]:
    """All detectors, those with a mark tuned on the development part."""
    rows = [
        Candidate(
            "foldmon, training loss logged",
            above(rule_score(rules["with loss"]), rules["with loss"].warn),
            "training loss",
        ),
        Candidate(
            "foldmon, nothing logged", above(rule_score(rules["without loss"]), rules["without loss"].warn)
        ),
        Candidate(
            "fitted rule, folding and classes only",
            above(rule_score(rules[FOLDING_ONLY]), rules[FOLDING_ONLY].warn),
        ),
    ]
    keys = list(tuner.ranges)
    plain = rule_candidates(keys)
    groups = {
        "best single signal of folding and classes": (plain[FOLDING_ONLY], ""),
        "best single signal of all": (plain["with loss"], "training loss"),
        "best held-out against training pairs": (
            [k for k in keys if k[0].startswith("gap ")],
            "training inputs",
        ),
        "training loss alone": ([key for key in keys if key[0] == "loss"], "training loss"),
    }
    for name, (group, needs) in groups.items():
        key, sign = _best(tuner, group)
        rows.append(
            _single(
                tuner, name, key, sign, needs, f"{key[0]} {key[1]}, {'rising' if sign > 0 else 'falling'}"
            )
        )
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


def _single(tuner: Tuner, name: str, key: Key, sign: int, needs: str = "", detail: str = "") -> Candidate:
    def score(run: Run) -> np.ndarray:
        return sign * run.signals[key]

    return Candidate(name, above(score, tuner.mark([held(score(run)) for run in tuner.runs])), needs, detail)
