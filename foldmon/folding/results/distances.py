"""The distances that every method measures, and the folding that follows from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from foldmon.folding.data.values import ByContent
from foldmon.folding.results.statistics import Floats, Ints, UnitNumbers, folding


@dataclass(frozen=True, eq=False)
class Distances(ByContent):
    """Distances walked on P paths in L activation layers, in numbers of units.

    Attributes:
        r1: shape (P, L), largest distance from the start.
        r2: shape (P, L), distance walked.
        r1_cumulative: shape (P, L), r1 of the joined units of layers 1..l.

    Example:
        >>> import numpy as np
        >>> walked = Distances(np.array([[3, 1]]), np.array([[3, 3]]), np.array([[3, 4]]))
        >>> walked.chi.round(3).tolist(), walked.chi_network.round(3).tolist()
        ([[0.0, 0.667]], [0.333])
    """

    r1: UnitNumbers
    r2: UnitNumbers
    r1_cumulative: UnitNumbers

    @property
    def r2_cumulative(self) -> UnitNumbers:
        """Shape (P, L), distance walked in the joined units of layers 1..l."""
        return self.r2.cumsum(1)

    @property
    def chi(self) -> Floats:
        """Shape (P, L), folding of each path in each layer."""
        return folding(self.r1, self.r2)

    @property
    def chi_cumulative(self) -> Floats:
        """Shape (P, L), folding in the joined units of layers 1..l."""
        return folding(self.r1_cumulative, self.r2_cumulative)

    @property
    def chi_network(self) -> Floats:
        """Shape (P,), folding in all units: the last column of ``chi_cumulative``."""
        return folding(self.r1_cumulative[:, -1], self.r2.sum(1))

    def of(self, paths: Ints | slice) -> Distances:
        """Those of some paths, in that order."""
        return Distances(self.r1[paths], self.r2[paths], self.r1_cumulative[paths])

    @staticmethod
    def joined(parts: Sequence[Distances]) -> Distances:
        """Those of all parts, one after the other."""
        columns = zip(*((part.r1, part.r2, part.r1_cumulative) for part in parts), strict=True)
        return Distances(*(np.concatenate(column) for column in columns))
