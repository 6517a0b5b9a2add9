"""The tuned rule: a forest of small decision trees over signals. The benchmark of warnings grows it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache, cached_property
from importlib.resources import files
from itertools import pairwise
from typing import Any

import numpy as np

from foldmon.folding.results.statistics import Floats
from foldmon.warning.signals import SHAPES

Key = tuple[str, str]
"""A reading and the shape in its course that is looked for."""


@dataclass(frozen=True)
class Tree:
    """A binary decision tree, node by node; the root comes first, and children after their parents.

    Attributes:
        signal: index of the signal that is compared, -1 in a leaf.
        threshold: a signal at or below it goes left.
        left, right: index of the children, 0 in a leaf.
        value: share of degraded probes among those of the benchmark that came by.
    """

    signal: Sequence[int]
    threshold: Sequence[float]
    left: Sequence[int]
    right: Sequence[int]
    value: Sequence[float]

    def path(self, signals: Sequence[float]) -> list[int]:
        """The nodes from the root to the leaf."""
        nodes = [0]
        while (signal := self.signal[nodes[-1]]) >= 0:
            node = nodes[-1]
            nodes.append((self.left if signals[signal] <= self.threshold[node] else self.right)[node])
        return nodes


@dataclass(frozen=True)
class Forest:
    """The mean of many trees (Geurts, Ernst and Wehenkel, "Extremely randomized trees", 2006).

    Attributes:
        readings: their names; the signals are every shape of the first, of the second, and so on.
        trees: over these signals.
        warn: a score above it, at three blocks in a row, starts a warning of severity 1.
        severe: likewise for severity 2.
        release: a score below it, at three blocks in a row, ends the episode.

    Example:
        >>> from foldmon.warning.forest import Forest, Tree
        >>> stump = Tree([1, -1, -1], [0.5, 0.0, 0.0], [1, 0, 0], [2, 0, 0], [0.5, 0.1, 0.9])
        >>> forest = Forest(("phi",), (stump,), warn=0.8, severe=0.95, release=0.6)
        >>> forest.score(np.array([0.0, 2.0, 0, 0, 0, 0, 0, 0]))
        0.9
    """

    readings: tuple[str, ...]
    trees: tuple[Tree, ...]
    warn: float
    severe: float
    release: float

    @cached_property
    def keys(self) -> tuple[Key, ...]:
        """Reading and shape of every signal."""
        return tuple((reading, shape) for reading in self.readings for shape in SHAPES)

    def score(self, signals: Floats) -> float:
        """How alike the run is to those that degraded, from 0 to 1.

        Args:
            signals: shape (len(keys),).
        """
        values = signals.tolist()
        return float(np.mean([tree.value[tree.path(values)[-1]] for tree in self.trees]))

    def parts(self, signals: Floats) -> dict[Key, float]:
        """What each signal adds to the score: the changes of the value along the trees' paths."""
        values, count = signals.tolist(), len(self.trees)
        parts = dict.fromkeys(self.keys, 0.0)
        for tree in self.trees:
            nodes = tree.path(values)
            for node, child in pairwise(nodes):
                parts[self.keys[tree.signal[node]]] += (tree.value[child] - tree.value[node]) / count
        return parts

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Forest:
        """The inverse of :meth:`to_dict`."""
        trees = tuple(Tree(**tree) for tree in values["trees"])
        return cls(tuple(values["readings"]), trees, values["warn"], values["severe"], values["release"])


@cache
def tuned() -> Mapping[str, Forest]:
    """The forests that come with foldmon: "with loss" where a training loss is logged, "without loss".

    Example:
        >>> from foldmon.warning.forest import tuned
        >>> sorted(tuned())
        ['with loss', 'without loss']
    """
    text = (files("foldmon.warning") / "tuned.json").read_text(encoding="utf-8")
    return {name: Forest.from_dict(values) for name, values in json.loads(text).items()}
