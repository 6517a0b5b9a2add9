"""An independent, slow and obvious computation of folding, to compare foldmon with.

It shares no code with foldmon: the model itself says what its pre-activations are (``Recorded``), points
are evaluated one at a time, and distances are counted unit by unit in plain Python.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

Symbol = Callable[[float], int]


def relu_symbol(z: float) -> int:
    return 1 if z > 0 else 0


class Recorded(nn.Module):
    """Stands in for an activation in the reference's copy of a model: writes down its input, then acts."""

    def __init__(self, activation: nn.Module, records: list[Tensor]) -> None:
        super().__init__()
        self.activation, self.records = activation, records

    def forward(self, z: Tensor) -> Tensor:
        self.records.append(z.clone())
        out: Tensor = self.activation(z)
        return out


@dataclass
class Folding:
    """r1, r2 and chi as the definition says: per layer, cumulative (joined layers 1..l)."""

    r1: np.ndarray
    r2: np.ndarray
    r1_cumulative: np.ndarray
    r2_cumulative: np.ndarray

    @property
    def chi(self) -> np.ndarray:
        return _chi(self.r1, self.r2)

    @property
    def chi_cumulative(self) -> np.ndarray:
        return _chi(self.r1_cumulative, self.r2_cumulative)


def _chi(r1: np.ndarray, r2: np.ndarray) -> np.ndarray:
    chi = np.zeros(r1.shape)
    for index in np.ndindex(*r1.shape):
        if r2[index] > 0:
            chi[index] = 1 - r1[index] / r2[index]
    return chi


def distance(a: Sequence[int], b: Sequence[int]) -> int:
    return sum(1 for x, y in zip(a, b, strict=True) if x != y)


def walk(codes: Sequence[Sequence[int]]) -> tuple[int, int]:
    """(r1, r2) of a walk of codes."""
    r1 = max(distance(code, codes[0]) for code in codes)
    r2 = sum(distance(codes[i], codes[i + 1]) for i in range(len(codes) - 1))
    return r1, r2


def folding(codes_of: Callable[[Tensor], list[list[int]]], x1: Tensor, x2: Tensor, points: int) -> Folding:
    """Folding of every path; ``codes_of`` gives the codes of all layers of a single input.

    Args:
        codes_of: from a batch of one input to a list of codes, one a layer.
        x1, x2: ends, batch first.
        points: equally spaced points a path.
    """
    rows: list[list[tuple[int, int]]] = []
    joined: list[list[tuple[int, int]]] = []
    for a, b in zip(x1, x2, strict=True):
        layers: list[list[list[int]]] = []
        for i in range(points):
            t = torch.tensor(i / (points - 1), dtype=a.dtype)
            codes = codes_of(torch.lerp(a, b, t).unsqueeze(0))
            for layer, code in enumerate(codes):
                if i == 0:
                    layers.append([])
                layers[layer].append(code)
        rows.append([walk(codes) for codes in layers])
        union: list[list[int]] = [[] for _ in range(points)]
        joined.append([])
        for codes in layers:
            union = [old + new for old, new in zip(union, codes, strict=True)]
            joined[-1].append(walk(union))
    single, together = np.array(rows), np.array(joined)
    return Folding(single[..., 0], single[..., 1], together[..., 0], together[..., 1])


def recorded_codes(
    model: nn.Module, records: list[Tensor], symbol: Symbol = relu_symbol
) -> Callable[[Tensor], list[list[int]]]:
    """Codes of a model whose activations are ``Recorded`` into ``records``, all of one kind."""

    def codes_of(x: Tensor) -> list[list[int]]:
        records.clear()
        with torch.no_grad():
            model(x)
        return [[symbol(z) for z in record.reshape(-1).tolist()] for record in records]

    return codes_of
