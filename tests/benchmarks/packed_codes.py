"""Codes on a device as bits instead of bytes: ``python -m tests.benchmarks.packed_codes [--device cuda]``.

Packs eight bools by one multiplication and counts bits by shifts, with operators of torch alone; what foldmon
does on a device is one byte a unit. Distances are compared number for number.
"""

from __future__ import annotations

import argparse
import time

import torch
from torch import Tensor
from torch.nn import functional

from foldmon.folding.symbols.activations import Reading
from foldmon.folding.symbols.codes import encode, hamming

POINTS = 33
SITES = {
    "MLP, 512 units, 64 pairs": (512, 64),
    "ResNet-18, 64 x 56 x 56, 1 pair": (200_704, 1),
    "ResNet-18, 512 x 7 x 7, 8 pairs": (25_088, 8),
    "GPT-2, 128 tokens x 3,072, 1 pair": (393_216, 1),
}
_GATHER = 0x0102040810204080  # brings the lowest bits of eight bytes together in the highest byte


def as_bytes(values: Tensor) -> Tensor:
    return values > 0


def as_bits(values: Tensor) -> Tensor:
    """Shape (rows, units / 8), the units padded to whole words."""
    bits = values > 0
    bits = functional.pad(bits, (0, -bits.shape[1] % 64)) if bits.shape[1] % 64 else bits
    return (bits.view(torch.int64) * _GATHER).bitwise_right_shift(56).to(torch.uint8)


def differing_bits(a: Tensor, b: Tensor) -> Tensor:
    words = (a ^ b).view(torch.int64)
    words = words - ((words >> 1) & 0x5555555555555555)
    words = (words & 0x3333333333333333) + ((words >> 2) & 0x3333333333333333)
    words = (words + (words >> 4)) & 0x0F0F0F0F0F0F0F0F
    return ((words * 0x0101010101010101) >> 56).bitwise_and(127).sum(-1)


def distances(code: Tensor, pairs: int, differing) -> tuple[Tensor, Tensor]:
    by_point = code.view(POINTS, pairs, -1)
    return differing(by_point, by_point[:1]).amax(0), differing(by_point[1:], by_point[:-1]).sum(0)


def milliseconds(work, device: str) -> float:
    best = float("inf")
    for _ in range(5):
        began = time.perf_counter()
        work()
        if device != "cpu":
            torch.accelerator.synchronize()
        best = min(best, time.perf_counter() - began)
    return 1e3 * best


def differing_bytes(a: Tensor, b: Tensor) -> Tensor:
    return torch.ne(a, b).sum(-1)


def compared(units: int, pairs: int, device: str) -> list[float]:
    """Milliseconds of encoding to bytes and bits, of distances of either, and of both in NumPy."""
    values = torch.randn(POINTS * pairs, units, device=device)
    wide, narrow, on_cpu = as_bytes(values), as_bits(values), values.cpu()
    expected, found = distances(wide, pairs, differing_bytes), distances(narrow, pairs, differing_bits)
    assert all(torch.equal(a, b) for a, b in zip(expected, found, strict=True))

    def in_numpy() -> None:
        by_point = encode(Reading(on_cpu, (0.0,))).reshape(1, POINTS, pairs, -1)
        hamming(by_point, by_point[:, :1]), hamming(by_point[:, 1:], by_point[:, :-1])

    works = (
        lambda: as_bytes(values),
        lambda: as_bits(values),
        lambda: distances(wide, pairs, differing_bytes),
        lambda: distances(narrow, pairs, differing_bits),
        in_numpy,
    )
    return [milliseconds(work, device) for work in works]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    device = parser.parse_args().device
    torch.set_num_threads(1)
    print("| site | encode: bytes | bits | distances: bytes | bits | both in NumPy, as on the CPU |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, (units, pairs) in SITES.items():
        cells = (f"{found:.1f} ms" for found in compared(units, pairs, device))
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
