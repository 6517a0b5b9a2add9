"""Pictures of a run for dashboards that show images: class pairs, and the depth profile over time."""

from __future__ import annotations

import io
from collections.abc import Sequence
from operator import itemgetter

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from foldmon.exporters.scale import reach
from foldmon.journal.resuming import take_back
from foldmon.journal.schema import ProbeRecord

CLASS_PAIRS, DEPTH_BY_TIME = "folding/class_pairs", "folding/depth_by_time"
_COLUMNS = 200
_SIDE = 320  # pixels that a picture has at least
_NO_VALUE = (150, 150, 150)
# From dark to light, evenly spaced in lightness, so that more looks like more, in print too.
_ANCHORS = np.array(
    [[38, 40, 45], [35, 50, 71], [33, 70, 106], [34, 95, 136], [45, 124, 156], [72, 160, 166],
     [121, 192, 171], [182, 220, 178], [244, 245, 201]]
)  # fmt: skip


def heat_map_png(values: ArrayLike, top: float = 0.0) -> bytes:
    """A matrix as a PNG, its first row on top; 0 is dark, the largest value light, NaN grey.

    Args:
        values: shape (rows, columns), not negative, neither side 0.
        top: from which value on cells are light; 0 takes the largest.

    Raises:
        ValueError: another shape.

    Example:
        >>> heat_map_png([[0.0, 0.5], [float("nan"), 1.0]])[1:4]
        b'PNG'
    """
    matrix = np.asarray(values, dtype=float)
    if matrix.ndim != 2 or 0 in matrix.shape:
        raise ValueError(f"a heat map needs rows and columns, got shape {matrix.shape}")
    rows, columns = matrix.shape
    image = Image.fromarray(_colours(matrix, top))
    # Whole factors: every cell gets the same number of pixels.
    size = (columns * max(1, -(-_SIDE // columns)), rows * max(1, -(-_SIDE // rows)))
    buffer = io.BytesIO()
    image.resize(size, Image.Resampling.NEAREST).save(buffer, "PNG")
    return buffer.getvalue()


def depth_by_time_png(steps: Sequence[int], profiles: Sequence[ArrayLike]) -> bytes:
    """Depth profiles over the steps as a PNG: first step left, the deepest layer on top.

    Args:
        steps: of the probes, in order. A profile holds until the next one's.
        profiles: cumulative folding by layer, one sequence a probe; shorter ones are filled up with NaN.
    """
    matrix = np.full((len(profiles), max(map(np.size, profiles))), np.nan)
    for row, profile in enumerate(profiles):
        matrix[row, : np.size(profile)] = profile
    shown = np.linspace(steps[0], steps[-1], min(_COLUMNS, steps[-1] - steps[0] + 1))
    held = np.searchsorted(steps, shown, side="right") - 1
    return heat_map_png(matrix[held].T[::-1], reach(steps, matrix))


class Pictures:
    """Which probes have pictures, and the pictures: at records 1, 2, 4, 8, ... of the journal.

    TensorBoard keeps ten images of a tag, and doubling spans any run with about that many, at a cost that
    does not grow with the run. Whether a record has pictures depends on its own number only, so that
    repeated records give the same ones. Of the depth profiles at most 200 are kept, evenly spread.

    Example:
        >>> pictures = Pictures()
        >>> record = {"seq": 4, "step": 30, "cumulative": [0.1, 0.2], "class_matrix": None}
        >>> list(pictures.of(record)), list(pictures.of(record | {"seq": 5}))
        (['folding/depth_by_time'], [])
    """

    def __init__(self) -> None:
        self._profiles: dict[int, tuple[int, NDArray[np.float32]]] = {}
        self._apart = 1

    def of(self, record: ProbeRecord) -> dict[str, bytes]:
        """The pictures of this probe as PNGs, by tag; none where it is not due."""
        number = record["seq"]
        if number % self._apart == 0:
            self._profiles[number] = record["step"], np.asarray(record["cumulative"], dtype=np.float32)
        if len(self._profiles) > _COLUMNS:
            self._apart *= 2
            self._profiles = {n: p for n, p in self._profiles.items() if n % self._apart == 0}
        if number < 1 or number & (number - 1):
            return {}
        pictures = {}
        if (matrix := record.get("class_matrix")) and np.ndim(matrix) == 2:
            pictures[CLASS_PAIRS] = heat_map_png(matrix)
        steps, profiles = self._until(number)
        if any(profile.size for profile in profiles):
            pictures[DEPTH_BY_TIME] = depth_by_time_png(steps, profiles)
        return pictures

    def _until(self, number: int) -> tuple[list[int], list[NDArray[np.float32]]]:
        """Steps and profiles up to this record: a batch that is repeated has been seen whole."""
        seen: list[tuple[int, NDArray[np.float32]]] = []
        for n in sorted(n for n in self._profiles if n <= number):
            take_back(seen, self._profiles[n][0], itemgetter(0))
            seen.append(self._profiles[n])
        return [step for step, _ in seen], [profile for _, profile in seen]


def _colours(matrix: NDArray[np.float64], top: float) -> NDArray[np.uint8]:
    top = top or float(np.max(matrix, initial=0.0, where=np.isfinite(matrix))) or 1.0
    shares = np.clip(np.nan_to_num(matrix / top, nan=0.0), 0.0, 1.0)
    stops = np.linspace(0.0, 1.0, len(_ANCHORS))
    channels = [np.interp(shares, stops, _ANCHORS[:, channel]) for channel in range(3)]
    colours = np.stack(channels, axis=-1).round().astype(np.uint8)
    colours[np.isnan(matrix)] = _NO_VALUE
    return colours
