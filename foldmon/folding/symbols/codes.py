"""Codes of inputs and their Hamming distances.

A code holds one symbol a unit for every input. Thresholded symbols are kept as bit planes, one plane a
threshold, so that two symbols differ exactly where some plane differs. On the CPU the planes are packed,
up to 64 units a word, and compared by exclusive-or and a population count; a code is then 32 times
smaller than the float32 values it came from. Integer symbols (selected indices) are compared as they are.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from foldmon.folding.symbols.activations import Reading, Thresholds

Code = npt.NDArray[Any] | Tensor
"""Shape (planes, inputs, words): unsigned words of units, or one entry a unit (bool or integer)."""

_WORD = 64
_WORDS = {8: np.uint64, 4: np.uint32, 2: np.uint16, 1: np.uint8}
# Values compared at a time on the CPU: they and their bits stay in a core's second-level cache, and the
# bits, four times smaller than the values, never exist for a whole activation at once.
_SLICE_BYTES = 512 * 2**10
# Half-precision numbers as integers: from this one on, the sign left out, they are infinite or NaN.
_HALF_INFINITY = {torch.float16: 0x7C00, torch.bfloat16: 0x7F80}
_ZERO: Thresholds = (0.0,)


class Scratch:
    """Memory that encoding reuses: fresh pages for every activation would cost as much as comparing.

    Args:
        codes: bytes of codes that stay valid until :meth:`free`; without, every code has its own memory.
    """

    def __init__(self, codes: int = 0) -> None:
        # As much as a slice of halves needs, before any pass; see UnitCounts for why.
        self._bits: npt.NDArray[np.bool_] = np.empty(_SLICE_BYTES // 2, dtype=np.bool_)
        self._codes: npt.NDArray[np.uint8] = np.empty(codes, dtype=np.uint8)
        self._used = 0

    def bits(self, rows: int, units: int) -> npt.NDArray[np.bool_]:
        """Room for bits, shape (rows, units rounded up to whole words), the padding cleared."""
        width = 8 * code_bytes(units)
        if self._bits.size < rows * width:
            self._bits = np.empty(rows * width, dtype=np.bool_)
        bits = self._bits[: rows * width].reshape(rows, width)
        bits[:, units:] = False
        return bits

    def planes(self, count: int, size: int) -> npt.NDArray[np.uint8]:
        """Room for a code, shape (count, size)."""
        first = -(-self._used // 8) * 8
        self._used = first + count * size
        if self.full:
            return np.empty((count, size), dtype=np.uint8)
        return self._codes[first : self._used].reshape(count, size)

    @property
    def full(self) -> bool:
        """Whether the last code did not fit."""
        return self._used > self._codes.size

    def free(self) -> None:
        """Reuse the memory of all codes so far."""
        self._used = 0


def code_bytes(units: int) -> int:
    """Bytes of one plane of one input's code on the CPU.

    Whole bytes need no padding, so that values and bits are compared and packed as one long row each.
    """
    return units // 8 if units % 8 == 0 else 8 * -(-units // _WORD)


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


def _packed_planes(values: Tensor, thresholds: Thresholds, scratch: Scratch) -> tuple[npt.NDArray[Any], int]:
    inputs, units = len(values), values.numel() // len(values)
    at_once = max(1, min(inputs, _SLICE_BYTES // max(1, units * values.element_size())))
    bits, width = scratch.bits(at_once, units), code_bytes(units)
    planes = scratch.planes(len(thresholds), inputs * width)
    nonfinite, high = 0, inputs * width
    # From the end, which the model's last layer has just left in the caches.
    for part in reversed(torch.split(values, at_once)):
        # Flattened slice by slice: a layout that has to be copied is never copied as a whole.
        flat = part if part.ndim == 2 else part.flatten(1)
        rows, low = bits[: len(flat)], high - len(flat) * width
        found = _count_nonfinite(flat)
        comparable = _comparable(flat, thresholds, found)
        for plane, cut in zip(planes, thresholds, strict=True):
            np.greater(comparable, cut, out=rows[:, :units])
            plane[low:high] = np.packbits(rows)
        nonfinite, high = nonfinite + found, low
    word = next(kind for size, kind in _WORDS.items() if width % size == 0)
    return planes.view(word).reshape(len(thresholds), inputs, -1), nonfinite


def _comparable(values: Tensor, thresholds: Thresholds, nonfinite: int) -> npt.NDArray[Any]:
    # NumPy compares several times faster than torch does, but knows no bfloat16 and has slow float16.
    # Read as integers, finite halves compare with zero as they do themselves.
    if values.dtype not in _HALF_INFINITY:
        array: npt.NDArray[Any] = values.numpy()
    elif thresholds == _ZERO and not nonfinite:
        array = values.view(torch.int16).numpy()
    else:
        array = values.float().numpy()
    return array


def _count_nonfinite(values: Tensor) -> int:
    if not values.is_floating_point():
        return 0
    infinity = _HALF_INFINITY.get(values.dtype)
    if infinity is not None:
        signed = values.view(torch.int16).numpy()
        # Of each sign the largest decides; as unsigned numbers the negative ones are the larger.
        if not signed.size or max(signed.max(), int(signed.view(np.uint16).max()) - 0x8000) < infinity:
            return 0
        return int(np.count_nonzero((signed & 0x7FFF) >= infinity))
    # The sum decides nearly always: it is finite only if every term is.
    total = values.sum().item()
    return 0 if total - total == 0 else values.numel() - int(np.count_nonzero(np.isfinite(values.numpy())))


def hamming(a: Code, b: Code) -> Tensor:
    """Number of units whose symbols differ, row by row.

    Args:
        a: planes of shape (planes, ..., words).
        b: planes of a shape that broadcasts with ``a``.

    Returns:
        Counts of shape (...,), integers, on the device of the codes.
    """
    if isinstance(a, Tensor) or isinstance(b, Tensor):
        unequal = torch.ne(a, b)  # type: ignore[arg-type]
        return (unequal[0] if len(unequal) == 1 else unequal.any(0)).sum(-1)
    if a.dtype.kind != "u":
        return torch.from_numpy((a != b).any(0)).sum(-1)
    different = a ^ b
    merged = different[0] if len(different) == 1 else np.bitwise_or.reduce(different, axis=0)
    # torch sums the bytes of short rows several times faster than NumPy does, into narrow integers.
    return torch.from_numpy(np.bitwise_count(merged)).sum(-1, dtype=torch.int32)
