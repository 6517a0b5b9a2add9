"""Soft symbols and the folding they make: the measure of arXiv 2502.09954, section 3, with gradients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from foldmon.folding.symbols.activations import Thresholds


@dataclass(frozen=True)
class Softness:
    """How the measure is softened.

    Attributes:
        temperature: width of a soft symbol, in units of the spread of a layer's pre-activations.
        smooth: soften the maximum of r1 too.
        straight_through: the values of hard symbols, with the gradient of soft ones.
    """

    temperature: float
    smooth: bool
    straight_through: bool


def soft_folding(
    layers: Sequence[tuple[Tensor, Thresholds]], points: int, softness: Softness, device: torch.device
) -> Tensor:
    """chi of each path in the joined units of all layers.

    chi = (r2 - r1) / (r2 + temperature): where no unit crosses a cut, r2 holds nothing but the tails of
    the sigmoids, whose ratio would be noise; they vanish faster than the temperature, so that chi goes
    to 0 there and to 1 - r1 / r2 elsewhere, and neither the value nor its slope is ever undefined. Hard
    distances are whole numbers and need no such floor.

    Args:
        layers: of each, pre-activations of shape (P * n, ...), rows ordered by path, then by point, and
            the thresholds.
        points: n.
        softness: of the symbols and the maximum.
        device: of the result; layers may be on several.

    Returns:
        Tensor of shape (P,), float32 at least.
    """
    walks = [_layer_distances(z, cuts, points, softness) for z, cuts in layers]
    from_start = torch.stack([start.to(device) for start, _ in walks]).sum(0)
    r2 = torch.stack([steps.to(device) for _, steps in walks]).sum(0).sum(-1)
    r1 = _smooth_maximum(from_start, softness.temperature) if softness.smooth else from_start.amax(-1)
    floored = r2.clamp_min(1.0) if softness.straight_through else r2 + softness.temperature
    return (r2 - r1) / floored


def _layer_distances(z: Tensor, cuts: Thresholds, points: int, softness: Softness) -> tuple[Tensor, Tensor]:
    z = z.flatten(1)
    z = z.float() if z.dtype in (torch.float16, torch.bfloat16) else z
    soft = distances(soft_symbols(z, cuts, softness.temperature), points)
    if not softness.straight_through:
        return soft
    hard = distances(torch.stack([(z > cut).to(z.dtype) for cut in cuts]), points)
    # Of distances, not of symbols: the difference of two hard symbols is 0 for most units, and the slope
    # of its absolute value with it, so that only units that cross a cut already would be moved.
    return hard[0] + (soft[0] - soft[0].detach()), hard[1] + (soft[1] - soft[1].detach())


def soft_symbols(z: Tensor, cuts: Thresholds, temperature: float) -> Tensor:
    """One symbol a unit and threshold: sigmoid((z - cut) / (temperature * spread of z)).

    The spread is the standard deviation over all of ``z``, so that a rescaled layer with its cut at 0
    keeps its symbols. It is part of the graph: a gradient that took it for a constant would differ from
    the value's own slope and would push on the layer's scale, which the value does not depend on.

    Args:
        z: pre-activations of shape (R, units), float32 or float64.
        cuts: K thresholds.
        temperature: in units of the spread.

    Returns:
        Tensor of shape (K, R, units), between 0 and 1.
    """
    # The floor only keeps the division defined for a layer that does not vary at all.
    spread = z.var(correction=0).clamp_min(torch.finfo(z.dtype).tiny).sqrt()
    return torch.stack([torch.sigmoid((z - cut) / (temperature * spread)) for cut in cuts])


def distances(symbols: Tensor, points: int) -> tuple[Tensor, Tensor]:
    """Distances of the walks: sums of absolute differences of symbols, soft or hard.

    A unit that crosses several cuts at once counts by its largest difference, as it counts once in the
    Hamming distance.

    Args:
        symbols: shape (K, P * n, units), rows ordered by path, then by point.
        points: n.

    Returns:
        Distances from the start, shape (P, n - 1), and between neighbouring points, shape (P, n - 1).
    """
    walks = symbols.reshape(len(symbols), -1, points, symbols.shape[-1])

    def between(a: Tensor, b: Tensor) -> Tensor:
        difference = (a - b).abs()
        largest = difference[0] if len(difference) == 1 else difference.amax(0)
        return largest.sum(-1)

    return between(walks[:, :, 1:], walks[:, :, :1]), between(walks[:, :, 1:], walks[:, :, :-1])


def _smooth_maximum(values: Tensor, temperature: float) -> Tensor:
    # A softmax-weighted mean, sharper as the temperature falls; it never exceeds the maximum, so that
    # r1 <= r2 stays true.
    largest = values.amax(-1, keepdim=True).clamp_min(torch.finfo(values.dtype).tiny)
    weights = torch.softmax(values / (temperature * largest), dim=-1)
    return (weights * values).sum(-1)
