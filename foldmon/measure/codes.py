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

from foldmon.measure.activations import Reading

Code = npt.NDArray[Any] | Tensor
"""Shape (planes, inputs, words): uint64 words of 64 units, or one entry a unit (bool or integer)."""

_WORD = 64


def encode(reading: Reading) -> Code:
    """The code of every input.

    Args:
        reading: values of shape (inputs, ...), one row an input.

    Returns:
        Planes of shape (planes, inputs, words): an array on the CPU, else a tensor on the device.
    """
    values = reading.values
    on_cpu = values.device.type == "cpu"
    if reading.thresholds is None:
        symbols = values.flatten(1).unsqueeze(0)
        return symbols.numpy() if on_cpu else symbols
    planes = [(values > cut).flatten(1) for cut in reading.thresholds]
    return np.stack([_pack(plane.numpy()) for plane in planes]) if on_cpu else torch.stack(planes)


def _pack(bits: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint64]:
    inputs, units = bits.shape
    if units % _WORD == 0:
        packed = np.packbits(bits.reshape(-1))
        return packed.view(np.uint64).reshape(inputs, units // _WORD)
    padded = np.zeros((inputs, -(-units // _WORD) * (_WORD // 8)), dtype=np.uint8)
    packed = np.packbits(bits, axis=1)
    padded[:, : packed.shape[-1]] = packed
    return padded.view(np.uint64)


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
    return np.bitwise_count(merged).sum(-1, dtype=np.int64)
