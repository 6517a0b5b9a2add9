"""Counts over units: dead, saturated, and values that are no numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from foldmon.measure.activations import Reading
from foldmon.measure.codes import Code, Scratch, encode_counting
from foldmon.measure.statistics import Floats, Ints


class UnitCounts:
    """Gathers, over all points of all paths, what single units did.

    A unit is dead where its symbol never left the lowest piece, saturated where it never left the
    highest. NaN exceeds no threshold and would read as dead: it is counted on its own.
    """

    def __init__(self, sites: Sequence[str], units: Sequence[int]) -> None:
        self.sites, self.units = sites, units
        self._scratch = Scratch()
        self._ever: dict[int, Any] = {}
        self._always: dict[int, Any] = {}
        self._nonfinite: list[Any] = [0] * len(sites)

    def add(self, place: int, reading: Reading) -> Code:
        """Count one pass of a site.

        Returns:
            The code of ``reading``, shape (planes, inputs, words): encoding and counting share a pass.
        """
        code, nonfinite = encode_counting(reading, self._scratch)
        self._nonfinite[place] = self._nonfinite[place] + nonfinite
        if reading.thresholds is not None:
            self._add_marks(place, code)
        return code

    def _add_marks(self, place: int, code: Code) -> None:
        if isinstance(code, Tensor):
            ever, always = code[0].any(0), code[-1].all(0)
        else:
            ever = np.bitwise_or.reduce(code[0], axis=0)
            always = np.bitwise_and.reduce(code[-1], axis=0)
        if place in self._ever:
            self._ever[place] |= ever
            self._always[place] &= always
        else:
            self._ever[place], self._always[place] = ever, always

    @property
    def nonfinite(self) -> Ints:
        """Shape (L,), number of NaN or infinite pre-activations."""
        return np.array([int(count) for count in self._nonfinite], dtype=np.int64)

    @property
    def dead(self) -> Floats:
        """Shape (L,), share of units in the lowest piece at every point; NaN for integer symbols."""
        return np.array([1.0 - self._share(self._ever, p) for p in range(len(self.sites))])

    @property
    def saturated(self) -> Floats:
        """Shape (L,), share of units in the highest piece at every point; NaN for integer symbols."""
        return np.array([self._share(self._always, p) for p in range(len(self.sites))])

    def _share(self, marks: dict[int, Any], place: int) -> float:
        if place not in marks:
            return float("nan")
        mark = marks[place]
        count = mark.sum() if isinstance(mark, Tensor) else np.bitwise_count(mark).sum()
        return float(count) / self.units[place]

    @property
    def notes(self) -> tuple[str, ...]:
        """One sentence for every layer that met NaN or infinite values."""
        return tuple(
            f"{site} met {count:,} NaN or infinite pre-activations; their symbols mean nothing"
            for site, count in zip(self.sites, self.nonfinite, strict=True)
            if count
        )
