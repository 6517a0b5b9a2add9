"""The obvious slow reference: hooks written out, very many equally spaced points, one path at a time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

Sites = Sequence[tuple[nn.Module, tuple[float, ...]]]


def dense_folding(
    model: nn.Module, x1: torch.Tensor, x2: torch.Tensor, sites: Sites, points: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """r1, r2 and cumulative r1, each (P, L); a module called twice is two sites."""
    rows = [_one_path(model, a, b, sites, points) for a, b in zip(x1, x2, strict=True)]
    r1, r2, cumulative = (np.array(column) for column in zip(*rows, strict=True))
    return r1, r2, cumulative


def _one_path(
    model: nn.Module, a: torch.Tensor, b: torch.Tensor, sites: Sites, points: int
) -> tuple[list[int], list[int], list[int]]:
    symbols: list[np.ndarray] = []

    def hook_for(thresholds: tuple[float, ...]):
        def hook(_: nn.Module, args: tuple[torch.Tensor, ...]) -> None:
            z = args[0].reshape(points, -1).numpy()
            symbols.append(sum((z > cut).astype(np.int8) for cut in thresholds))

        return hook

    handles = [module.register_forward_pre_hook(hook_for(cuts)) for module, cuts in sites]
    t = torch.linspace(0, 1, points, dtype=a.dtype).reshape(-1, *[1] * a.ndim)
    with torch.no_grad():
        model((1 - t) * a + t * b)
    for handle in handles:
        handle.remove()
    r1, r2, cumulative, joined = [], [], [], 0
    for symbol in symbols:
        away = (symbol != symbol[0]).sum(1)
        joined = joined + away
        r1.append(away.max())
        r2.append((symbol[1:] != symbol[:-1]).sum())
        cumulative.append(joined.max())
    return r1, r2, cumulative
