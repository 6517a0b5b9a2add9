"""Counts over units: dead, saturated, and values that are no numbers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from foldmon.folding.results.statistics import Floats, Ints
from foldmon.folding.symbols.activations import Reading
from foldmon.folding.symbols.codes import (
    Code,
    Scratch,
    code_bytes,
    encode_counting,
)

# Entries of a row that is long enough for NumPy.
_LONG = 128


class UnitCounts:
    """Gathers, over all points of all paths, what single units did.

    A unit is dead where its symbol never left the lowest piece, saturated where it never left the
    highest. NaN exceeds no threshold and would read as dead: it is counted on its own.
    """

    def __init__(self, sites: Sequence[str], units: Sequence[int], scratch: Scratch | None = None) -> None:
        self.sites, self.units = sites, units
        self._scratch = scratch or Scratch()
        # Made before any pass: a small array that outlives a pass settles in the gap that a freed activation
        # leaves in the heap, and the next activation of that size needs new memory, layer after layer.
        # Every site's marks begin at a whole word, so that they can be read as words of any size.
        sizes = [-(-code_bytes(count) // 8) * 8 for count in units]
        self._first_byte = list(accumulate(sizes, initial=0))
        self._room = np.zeros((2, self._first_byte[-1]), dtype=np.uint8)
        self._ever: dict[int, Any] = {}
        self._always: dict[int, Any] = {}
        self._nonfinite: list[Any] = [0] * len(sites)

    def add(self, place: int, reading: Reading) -> Code:
        """Count one pass of a site.

        Returns:
            The code of ``reading``, shape (planes, inputs, words): encoding and counting share a pass.
        """
        code = self.read(place, reading)
        if reading.thresholds is not None:
            self.mark(place, code)
        return code

    def read(self, place: int, reading: Reading) -> Code:
        """:meth:`add` but for the marks of dead and saturated units, which :meth:`mark` adds."""
        code, nonfinite = encode_counting(reading, self._scratch)
        self._nonfinite[place] = self._nonfinite[place] + nonfinite
        return code

    def mark(self, place: int, code: Code) -> None:
        """Count the units of thresholded symbols that were in their lowest or highest piece throughout."""
        if isinstance(code, Tensor):
            self._join(place, _packed(code[0].any(0)), _packed(code[-1].all(0)))
        else:
            self._join(place, _fold(np.bitwise_or, code[0]), _fold(np.bitwise_and, code[-1]))

    def absorb(self, other: UnitCounts) -> None:
        """Add what was counted elsewhere on other paths."""
        for place in other._ever:
            self._join(place, other._ever[place], other._always[place])
        self._nonfinite = [a + b for a, b in zip(self._nonfinite, other._nonfinite, strict=True)]

    def beside(self, other: UnitCounts, holds: npt.NDArray[np.bool_]) -> None:
        """Add units of the same sites that were counted elsewhere on the same paths.

        Args:
            other: what was counted there.
            holds: shape (L,), whether its units of a site are others than those here.
        """
        units = list(self.units)
        for place in np.flatnonzero(holds).tolist():
            units[place] += other.units[place]
            self._nonfinite[place] = self._nonfinite[place] + other._nonfinite[place]
            for own, theirs in ((self._ever, other._ever), (self._always, other._always)):
                if place in own:
                    own[place] = np.concatenate([_bytes(own[place]), _bytes(theirs[place])])
        self.units = units

    def _join(self, place: int, ever: Any, always: Any) -> None:
        if place in self._ever:
            self._ever[place] |= ever
            self._always[place] &= always
        elif isinstance(ever, Tensor):
            self._ever[place], self._always[place] = ever, always
        else:
            first = self._first_byte[place]
            own = self._room[:, first : first + ever.nbytes]
            self._ever[place], self._always[place] = (half.view(ever.dtype) for half in own)
            self._ever[place][:], self._always[place][:] = ever, always

    @property
    def marks(self) -> npt.NDArray[np.uint8]:
        """Shape (2, bytes), on the CPU: bits of the units that were above their lowest piece at some point,
        and of those that were below their highest one. Several processes join theirs by "or".
        """
        marks = np.zeros_like(self._room)
        for place, ever in self._ever.items():
            above, below = self._of(marks, place)
            above[:], below[:] = _bytes(ever), ~_bytes(self._always[place])
        return marks

    @marks.setter
    def marks(self, marks: npt.NDArray[np.uint8]) -> None:
        for place in range(len(self.units)):
            above, below = self._of(marks, place)
            if above.any() or below.any():  # else nobody met the site
                self._ever[place], self._always[place] = above, ~below

    def _of(self, marks: npt.NDArray[np.uint8], place: int) -> npt.NDArray[np.uint8]:
        first = self._first_byte[place]
        return marks[:, first : first + code_bytes(self.units[place])]

    def __getstate__(self) -> dict[str, Any]:
        """To another process, but for :attr:`marks`, which are large."""
        state = self.__dict__ | {"_ever": {}, "_always": {}, "_room": None}
        return state | {"_nonfinite": [int(count) for count in self._nonfinite], "_scratch": Scratch()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _room=np.zeros((2, state["_first_byte"][-1]), dtype=np.uint8))

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
        if isinstance(mark, Tensor):
            return float(sum((mark >> bit & 1).sum() for bit in range(8))) / self.units[place]
        return float(np.bitwise_count(mark).sum()) / self.units[place]

    @property
    def notes(self) -> tuple[str, ...]:
        """One sentence for every layer that met NaN or infinite values."""
        return tuple(
            f"{site} met {count:,} NaN or infinite pre-activations; their symbols mean nothing"
            for site, count in zip(self.sites, self.nonfinite, strict=True)
            if count
        )


def _fold(join: np.ufunc, rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Join all rows, shape (R, W), into one: as few long rows first, since NumPy is slow on short ones."""
    count, words = rows.shape
    side = max(1, min(count, _LONG // max(1, words)))
    whole = count - count % side
    folded = join.reduce(join.reduce(rows[:whole].reshape(-1, side * words), axis=0).reshape(side, words))
    joined: npt.NDArray[Any] = folded if whole == count else join(folded, join.reduce(rows[whole:]))
    return joined


def _bytes(mark: Any) -> npt.NDArray[np.uint8]:
    """Marks on the CPU as bytes with as many bits set; rows of words may be of different widths."""
    array = mark.cpu().numpy() if isinstance(mark, Tensor) else mark
    found: npt.NDArray[np.uint8] = np.ascontiguousarray(array).view(np.uint8)
    return found


def _packed(marks: Tensor) -> Tensor:
    """Bools of shape (units,) as bytes of eight: a long text has as many units as a model has weights."""
    bits = torch.zeros(8 * code_bytes(len(marks)), dtype=torch.uint8, device=marks.device)
    bits[: len(marks)] = marks
    packed: Tensor = sum(bits[bit::8] << bit for bit in range(8))  # type: ignore[assignment]
    return packed
