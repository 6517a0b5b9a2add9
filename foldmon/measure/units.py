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
        # Made before any pass: a small array that outlives a pass settles in the gap that a freed activation
        # leaves in the heap, and the next activation of that size needs new memory, layer after layer.
        words = [-(-count // 64) for count in units]
        self._first_word = [sum(words[:place]) for place in range(len(words))]
        self._room = np.zeros((2, sum(words)), dtype=np.uint64)
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
        self._mark(place, ever, always)

    def absorb(self, other: UnitCounts) -> None:
        """Add what was counted elsewhere on other paths."""
        for place in other._ever:
            self._mark(place, other._ever[place], other._always[place])
        self._nonfinite = [a + b for a, b in zip(self._nonfinite, other._nonfinite, strict=True)]

    def _mark(self, place: int, ever: Any, always: Any) -> None:
        if place in self._ever:
            self._ever[place] |= ever
            self._always[place] &= always
        elif isinstance(ever, Tensor):
            self._ever[place], self._always[place] = ever, always
        else:
            first = self._first_word[place]
            own = self._room[:, first : first + len(ever)]
            own[0], own[1] = ever, always
            self._ever[place], self._always[place] = own

    def __getstate__(self) -> dict[str, Any]:
        """To another process, from a device too."""
        state = self.__dict__.copy()
        for key in ("_ever", "_always"):
            state[key] = {place: _on_cpu(mark) for place, mark in state[key].items()}
        return state | {"_nonfinite": [int(count) for count in self._nonfinite], "_scratch": Scratch()}

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


def _on_cpu(mark: Any) -> Any:
    return mark.cpu() if isinstance(mark, Tensor) else mark
