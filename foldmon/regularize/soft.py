"""Soft symbols and the folding they make: the measure of arXiv 2502.09954, section 3, with gradients."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from foldmon.measure.activations import Thresholds


def soft_symbols(z: Tensor, cuts: Thresholds, temperature: float, *, straight_through: bool) -> Tensor:
    """One symbol a unit and threshold: sigmoid((z - cut) / (temperature * spread of z)).

    The spread is the standard deviation over all of ``z``, so that a rescaled layer with its cut at 0
    keeps its symbols. It is part of the graph: a gradient that took it for a constant would differ from
    the value's own slope and would push on the layer's scale, which the value does not depend on.

    Args:
        z: pre-activations of shape (R, ...), any floating dtype; computed in float32 at least.
        cuts: K thresholds.
        temperature: in units of the spread.
        straight_through: give the hard symbols, with the gradient of the soft ones.

    Returns:
        Tensor of shape (K, R, units), between 0 and 1.
    """
    z = z.flatten(1)
    if z.dtype in (torch.float16, torch.bfloat16):
        z = z.float()
    # The floor only keeps the division defined for a layer that does not vary at all.
    spread = z.var(correction=0).clamp_min(torch.finfo(z.dtype).tiny).sqrt()
    planes = [torch.sigmoid((z - cut) / (temperature * spread)) for cut in cuts]
    if straight_through:
        hard = [(z > cut).to(z.dtype) for cut in cuts]
        planes = [h + (soft - soft.detach()) for h, soft in zip(hard, planes, strict=True)]
    return torch.stack(planes)


def soft_distances(symbols: Tensor, points: int) -> tuple[Tensor, Tensor]:
    """Distances of the walks: sums of absolute differences of symbols.

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


def soft_folding(
    distances: Sequence[tuple[Tensor, Tensor]], temperature: float, *, smooth: bool, straight_through: bool
) -> Tensor:
    """chi of each path in the joined units of all layers.

    chi = (r2 - r1) / (r2 + temperature): where no unit crosses a cut, r2 holds nothing but the tails of
    the sigmoids, whose ratio would be noise; they vanish faster than the temperature, so that chi goes
    to 0 there and to 1 - r1 / r2 elsewhere, and neither the value nor its slope is ever undefined.

    Args:
        distances: of each layer, as :func:`soft_distances` gives them.
        temperature: that of the symbols.
        smooth: weigh all distances from the start by a softmax, sharper as the temperature falls, instead
            of taking the largest one.
        straight_through: the distances are whole numbers: chi = 1 - r1 / r2, and 0 where r2 = 0.

    Returns:
        Tensor of shape (P,).
    """
    from_start = torch.stack([start for start, _ in distances]).sum(0)
    r2 = torch.stack([steps for _, steps in distances]).sum(0).sum(-1)
    r1 = _smooth_maximum(from_start, temperature) if smooth else from_start.amax(-1)
    below = r2.clamp_min(1.0) if straight_through else r2 + temperature
    return (r2 - r1) / below


def _smooth_maximum(distances: Tensor, temperature: float) -> Tensor:
    # A softmax-weighted mean never exceeds the maximum, so that r1 <= r2 stays true.
    largest = distances.amax(-1, keepdim=True).clamp_min(torch.finfo(distances.dtype).tiny)
    weights = torch.softmax(distances / (temperature * largest), dim=-1)
    return (weights * distances).sum(-1)
