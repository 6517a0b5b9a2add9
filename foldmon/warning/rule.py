"""The tuned rule: a weighted sum of bounded signals. The benchmark of warnings writes its numbers."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.resources import files
from typing import Any

from foldmon.warning.history import History
from foldmon.warning.signals import Signal


@dataclass(frozen=True)
class Term:
    """One signal's part: ``weight * tanh((value - centre) / scale)``.

    The hyperbolic tangent bounds it, so that no single signal, however wild, outvotes all others.
    """

    reading: str
    shape: str
    centre: float
    scale: float
    weight: float

    def part(self, history: History) -> float:
        """Its part of the score now."""
        value = Signal(self.reading, self.shape)(history)
        return self.weight * math.tanh((value - self.centre) / self.scale)


@dataclass(frozen=True)
class Rule:
    """Terms, and the scores at which a warning starts, ends and is severe.

    Attributes:
        warn: a score above it, at three blocks in a row, starts a warning of severity 1.
        severe: likewise for severity 2.
        release: a score below it, at three blocks in a row, ends the episode.
    """

    terms: tuple[Term, ...]
    bias: float
    warn: float
    severe: float
    release: float

    def score(self, history: History) -> float:
        """Log odds that the model generalizes worse than it did, as fitted by the benchmark."""
        return self.bias + sum(term.part(history) for term in self.terms)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Rule:
        """The inverse of :meth:`to_dict`."""
        terms = tuple(Term(**term) for term in values["terms"])
        return cls(terms, *(float(values[name]) for name in ("bias", "warn", "severe", "release")))


def tuned() -> dict[str, Rule]:
    """The rules that come with foldmon: "with loss" where a training loss is logged, "without loss".

    Example:
        >>> from foldmon.warning.rule import tuned
        >>> sorted(tuned())
        ['with loss', 'without loss']
    """
    text = (files("foldmon.warning") / "tuned.json").read_text(encoding="utf-8")
    return {name: Rule.from_dict(values) for name, values in json.loads(text).items()}
