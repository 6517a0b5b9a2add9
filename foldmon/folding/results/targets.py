"""What the labels of held-out inputs can stand for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from foldmon.folding.data.labels import target_in

IGNORED = -100
"""The label of what is not to be judged, as torch's losses have it."""
BORDER = 255
"""The same in masks of images."""
_SUM = 1e-3  # by which shares of one whole may miss it


@dataclass(frozen=True, eq=False)
class Targets:
    """Labels of N inputs, and what their values allow.

    Attributes:
        values: shape (N, ...), whole numbers as int64, one column as none; None without labels, and where
            they are words.
        names: number of different labels, where they are words.
        other: whether they are something else (boxes, several parts).
        whole: whether they are whole numbers, by type, or only 0 and 1.
        flags: whether they are only 0 and 1.
        signs: whether they were only -1 and 1, one an input; their values are 0 and 1 then.
        shares: whether each row is a distribution: none negative, and they sum to 1.
        top: the largest.
    """

    values: Tensor | None = None
    names: int = 0
    other: bool = False
    whole: bool = False
    flags: bool = False
    signs: bool = False
    shares: bool = False
    top: int = -1

    @property
    def given(self) -> bool:
        """Whether there are labels at all."""
        return self.values is not None or self.names > 0 or self.other

    @property
    def single(self) -> bool:
        """Whether there is one number an input."""
        return self.values is not None and self.values.ndim == 1

    def stand_for(self, outputs: int) -> bool:
        """Whether each input has one label, and it is a place among so many outputs."""
        places = self.single and self.whole and not self.signs and self._from_zero and self.top < outputs
        return places or 0 < self.names <= outputs

    def positions_among(self, outputs: int) -> bool:
        """Whether each input has several labels (of tokens, of pixels) that are such places or ignored."""
        if self.values is None or self.values.ndim < 2 or self.values.is_floating_point():
            return False
        return 0 <= self.top < outputs or self._but_for_borders() < outputs

    def _but_for_borders(self) -> int:
        """The largest label of a mask beside the one that usually stands for borders and the unknown."""
        assert self.values is not None
        if self.top != BORDER or self.values.ndim < 3:
            return self.top
        inner = self.values[self.values != BORDER]
        return int(inner.max()) if inner.numel() else self.top

    @property
    def _from_zero(self) -> bool:
        assert self.values is not None
        return bool(((self.values >= 0) | (self.values == IGNORED)).all())

    @staticmethod
    def of(labels: Any) -> Targets:
        """Look labels over.

        Args:
            labels: of N inputs, as ``HeldOut`` holds them.

        Example:
            >>> import torch
            >>> from foldmon.folding.results.targets import Targets
            >>> ages, sides = Targets.of(torch.tensor([31, 54])), Targets.of(torch.tensor([[1.0], [0.0]]))
            >>> ages.stand_for(10), sides.stand_for(2), sides.values.tolist()
            (False, True, [1, 0])
        """
        if labels is None:
            return Targets()
        labels = target_in(labels)
        if isinstance(labels, np.ndarray) and labels.dtype.kind in "US":
            return Targets(names=len(np.unique(labels)))
        if isinstance(labels, np.ndarray) and labels.dtype.kind in "iubf":
            labels = torch.from_numpy(labels.astype(np.float64 if labels.dtype.kind == "f" else np.int64))
        if not isinstance(labels, Tensor) or labels.is_complex() or not labels.numel():
            return Targets(other=True)
        values = labels.detach()
        if values.ndim > 1 and values.shape[1:].numel() == 1:
            values = values.reshape(len(values))
        return _looked_over(values)

    @staticmethod
    def named(names: Sequence[str]) -> Targets:
        """:meth:`of` for the names of classes, which may be numbers written out."""
        if not names:
            return Targets()
        try:
            numbers = np.array([float(name) for name in names])
        except ValueError:
            return Targets(names=len(names))
        return Targets.of(numbers.astype(np.int64) if (numbers % 1 == 0).all() else numbers)


def _looked_over(values: Tensor) -> Targets:
    signs = values.ndim == 1 and bool(((values == 1) | (values == -1)).all()) and bool((values == -1).any())
    if signs:
        values = values > 0
    flags = not signs and bool(((values == 0) | (values == 1)).all())
    if flags or signs or not values.is_floating_point():
        values = values.to(torch.int64)
    shares = values.ndim == 2 and bool((values >= 0).all())
    shares = shares and bool(((values.sum(1) - 1).abs() <= _SUM).all())
    whole = not values.is_floating_point()
    return Targets(values, 0, False, whole, flags, signs, shares, int(values.max()) if whole else -1)
