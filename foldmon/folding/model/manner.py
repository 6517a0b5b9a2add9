"""In what manner a model runs, told from one measurement to the next."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from foldmon.folding.model.taps import Sightings


class Manner:
    """What a model ran through in the first pass of a measurement, and in that of the one before."""

    def __init__(self) -> None:
        self._before: tuple[Any, ...] | None = None
        self._shapes: dict[str, torch.Size] | None = {}

    def begin(self) -> None:
        """A new measurement: its first pass counts."""
        self._shapes = {}

    def saw(self, site: str, shape: torch.Size) -> None:
        """A site ran, with values of this shape."""
        if self._shapes is not None:
            self._shapes[site] = shape

    def is_as_before(self, seen: Sightings, axes: Mapping[str, int], count: int, classes: bool) -> bool:
        """Whether a pass that has ended ran as the first one before; always, but for a measurement's first.

        Sites, their order and shapes, modules, kinks, and what is not covered.

        Args:
            seen: by the pass.
            axes: of each site that holds the rows.
            count: number of these.
            classes: whether the output gave any.
        """
        if self._shapes is None:
            return True
        now = (
            [(site, _of_a_row(shape, axes.get(site), count)) for site, shape in self._shapes.items()],
            classes,
            set(seen.executed),
            {place: name for place, (name, _) in seen.kinks.items()},
            dict(seen.not_covered),
        )
        self._shapes = None
        self._before = self._before or now
        return now == self._before


def _of_a_row(shape: torch.Size, axis: int | None, count: int) -> list[float]:
    sizes: list[float] = list(shape)
    if axis is None:
        return []
    if len(sizes) > axis:
        sizes[axis] /= count
    return sizes
