"""CantorNet as a torch model, and its folding from rational arithmetic alone.

Every unit along the path is a list of breakpoints (t, value), straight in between.
"""

from __future__ import annotations

from bisect import bisect_right
from fractions import Fraction
from itertools import pairwise

import torch
from torch import nn

START = (Fraction(13, 1000), Fraction(74, 100))
END = (Fraction(987, 1000), Fraction(72, 100))
W1, B1 = ((3, 0), (-3, 0), (0, 1)), (-2, 1, 0)
W2, B2 = ((1, 1, 0), (0, 0, 1)), (0, 0)
OUT, B_OUT = ((Fraction(-1, 2), 1),), (Fraction(-1, 2),)

Curve = list[tuple[Fraction, Fraction]]


def cantornet(blocks: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for weight, bias in [(W1, B1), (W2, B2)] * blocks + [(OUT, B_OUT)]:
        linear = nn.Linear(len(weight[0]), len(weight))
        linear.weight.data = torch.tensor([[float(w) for w in row] for row in weight])
        linear.bias.data = torch.tensor([float(b) for b in bias])
        layers += [linear, nn.ReLU()]
    return nn.Sequential(*layers).double()


def ends() -> tuple[torch.Tensor, torch.Tensor]:
    start, end = (torch.tensor([[float(x) for x in point]], dtype=torch.float64) for point in (START, END))
    return start, end


def folding(blocks: int) -> tuple[int, int]:
    """Exact (r1, r2) of the network."""
    curves: list[Curve] = [[(Fraction(0), a), (Fraction(1), b)] for a, b in zip(START, END, strict=True)]
    units: list[Curve] = []
    for weight, bias in [(W1, B1), (W2, B2)] * blocks + [(OUT, B_OUT)]:
        before = [_sum(curves, row, b) for row, b in zip(weight, bias, strict=True)]
        units += before
        curves = [_relu(curve) for curve in before]
    return _distances(units)


def _at(curve: Curve, t: Fraction) -> Fraction:
    place = min(max(bisect_right(curve, t, key=lambda point: point[0]), 1), len(curve) - 1)
    (t0, z0), (t1, z1) = curve[place - 1], curve[place]
    return z0 + (z1 - z0) * (t - t0) / (t1 - t0)


def _sum(curves: list[Curve], weights: tuple[int | Fraction, ...], bias: int | Fraction) -> Curve:
    used = [(curve, w) for curve, w in zip(curves, weights, strict=True) if w]
    moments = sorted({t for curve, _ in used for t, _ in curve})
    return [(t, sum((_at(curve, t) * w for curve, w in used), Fraction(bias))) for t in moments]


def _relu(curve: Curve) -> Curve:
    bent = [curve[0]]
    for (t0, z0), (t1, z1) in pairwise(curve):
        if z0 * z1 < 0:
            bent.append((t0 - z0 * (t1 - t0) / (z1 - z0), Fraction(0)))
        bent.append((t1, z1))
    return [(t, max(z, Fraction(0))) for t, z in bent]


def _distances(units: list[Curve]) -> tuple[int, int]:
    """Codes at both ends and inside every piece on which no unit changes its symbol."""
    signs = []
    for unit in units:
        zeros = {t for t, z in _relu(unit) if z == 0}
        own = sorted(zeros | {Fraction(0), Fraction(1)})
        inside = [_at(unit, (a + b) / 2) > 0 for a, b in pairwise(own)]
        signs.append((own, [unit[0][1] > 0, *inside, unit[-1][1] > 0]))
    moments: dict[Fraction, list[tuple[int, bool]]] = {}
    for number, (own, symbols) in enumerate(signs):
        for t, old, new in zip(own, symbols, symbols[1:], strict=False):
            if old != new:
                moments.setdefault(t, []).append((number, new))
    start = [symbols[0] for _, symbols in signs]
    now, away, farthest, walked = list(start), 0, 0, 0
    for t in sorted(moments):
        for number, symbol in moments[t]:
            away += 1 if symbol != start[number] else -1
            now[number] = symbol
            walked += 1
        farthest = max(farthest, away)
    return farthest, walked
