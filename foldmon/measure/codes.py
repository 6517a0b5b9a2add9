"""Codes of inputs and their Hamming distances.

A code holds one symbol a unit for every input. Thresholded symbols are kept as bit planes, one plane a
threshold, so that two symbols differ exactly where some plane differs. On the CPU the planes are packed,
64 units a word, and compared by exclusive-or and a population count; a code is then 32 times smaller
than the float32 values it came from. Integer symbols (selected indices) are compared as they are.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from foldmon.measure.activations import Reading, Thresholds

Code = npt.NDArray[Any] | Tensor
"""Shape (planes, inputs, words): uint64 words of 64 units, or one entry a unit (bool or integer)."""

_WORD = 64
# Values compared at a time on the CPU: they and their bits stay in a core's second-level cache, and the
# bits, four times smaller than the values, never exist for a whole activation at once.
_SLICE_BYTES = 512 * 2**10


class Scratch:
    """Memory that encoding reuses: fresh pages for every activation would cost as much as comparing."""

    def __init__(self) -> None:
        self._memory: npt.NDArray[np.bool_] = np.empty(0, dtype=np.bool_)

    def bits(self, rows: int, units: int) -> npt.NDArray[np.bool_]:
        """Room for bits, shape (rows, units rounded up to whole words), the padding cleared."""
        width = -(-units // _WORD) * _WORD
        if self._memory.size < rows * width:
            self._memory = np.empty(rows * width, dtype=np.bool_)
        bits = self._memory[: rows * width].reshape(rows, width)
        bits[:, units:] = False
        return bits


def encode(reading: Reading) -> Code:
    """The code of every input.

    Args:
        reading: values of shape (inputs, ...), one row an input.

    Returns:
        Planes of shape (planes, inputs, words): an array on the CPU, else a tensor on the device.
    """
    return encode_counting(reading, Scratch())[0]


def encode_counting(reading: Reading, scratch: Scratch) -> tuple[Code, Any]:
    """The code of every input, and how many values were NaN or infinite, in one pass over the values.

    Args:
        reading: values of shape (inputs, ...), one row an input.
        scratch: memory to reuse from call to call, of one thread.

    Returns:
        Planes as of :func:`encode`, and the count: an int on the CPU, else a 0-d tensor on the device.
    """
    values = reading.values
    on_cpu = values.device.type == "cpu"
    if reading.thresholds is None:
        symbols = values.flatten(1).unsqueeze(0)
        return (symbols.numpy() if on_cpu else symbols), 0
    if on_cpu:
        return _packed_planes(values, reading.thresholds, scratch)
    planes = torch.stack([(values > cut).flatten(1) for cut in reading.thresholds])
    return planes, (~torch.isfinite(values)).sum() if values.is_floating_point() else 0


def _packed_planes(
    values: Tensor, thresholds: Thresholds, scratch: Scratch
) -> tuple[npt.NDArray[np.uint64], int]:
    inputs = len(values)
    flat = values.flatten(1)
    units = flat.shape[1]
    at_once = max(1, min(inputs, _SLICE_BYTES // max(1, units * values.element_size())))
    bits = scratch.bits(at_once, units)
    planes = np.empty((len(thresholds), inputs, bits.shape[1] // 8), dtype=np.uint8)
    nonfinite = 0
    for low in range(0, inputs, at_once):
        part = flat[low : low + at_once]
        comparable, rows = _comparable(part), bits[: len(part)]
        for plane, cut in zip(planes, thresholds, strict=True):
            np.greater(comparable, cut, out=rows[:, :units])
            plane[low : low + at_once] = np.packbits(rows).reshape(len(rows), -1)
        nonfinite += _count_nonfinite(part)
    return planes.view(np.uint64), nonfinite


def _comparable(values: Tensor) -> npt.NDArray[Any]:
    # NumPy compares several times faster than torch does, but knows no bfloat16 and has slow float16.
    halves = values.dtype in (torch.bfloat16, torch.float16)
    array: npt.NDArray[Any] = (values.float() if halves else values).numpy()
    return array


def _count_nonfinite(values: Tensor) -> int:
    if not values.is_floating_point():
        return 0
    # The sum decides nearly always: it is finite only if every term is.
    total = float(values.sum(dtype=torch.float32 if values.element_size() < 4 else None))
    return 0 if total - total == 0 else int((~torch.isfinite(values)).sum())


def hamming(a: Code, b: Code) -> Any:
    """Number of units whose symbols differ, row by row.

    Args:
        a: planes of shape (planes, ..., words).
        b: planes of a shape that broadcasts with ``a``.

    Returns:
        Counts of shape (...,), int64: an array on the CPU, else a tensor on the device.
    """
    if isinstance(a, Tensor) or isinstance(b, Tensor):
        return torch.ne(a, b).any(0).sum(-1)  # type: ignore[arg-type]
    if a.dtype != np.uint64:
        return (a != b).any(0).sum(-1)
    different = a ^ b
    merged = different[0] if len(different) == 1 else np.bitwise_or.reduce(different, axis=0)
    # torch sums the bytes of short rows two to three times faster than NumPy does.
    return torch.from_numpy(np.bitwise_count(merged)).sum(-1).numpy()
