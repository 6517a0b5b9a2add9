"""Training with and without foldmon, to compare."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from foldmon.monitor.protocol import Monitor
from tests.training_loop import train


def network() -> nn.Module:
    return nn.Sequential(
        nn.Linear(8, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.1), nn.Linear(32, 32), nn.ReLU(),
        nn.Linear(32, 3),
    )  # fmt: skip


def data() -> tuple[torch.Tensor, torch.Tensor]:
    labels = torch.arange(60) % 3
    return torch.randn(60, 8, generator=torch.Generator().manual_seed(1)), labels


def assert_training_is_the_same(
    watch: Callable[[nn.Module], Monitor | None],
    make: Callable[[], nn.Module] = network,
    steps: int = 40,
    during: Callable[[nn.Module], object] = lambda model: None,
) -> None:
    """Train twice from the same start, once watched; compare losses, weights and generators.

    Args:
        watch: watches the model; what it returns is closed at the end.
        make: the model.
        steps: of training, before ``during`` and again after it.
        during: done in mid-training to both models.
    """
    outcomes = []
    for watched in (False, True):
        torch.manual_seed(5)
        random.seed(5)
        np.random.seed(5)
        model = make()
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        monitor = watch(model) if watched else None
        losses = train(model, steps, optimizer)
        during(model)
        losses += train(model, steps, optimizer)
        if monitor is not None:
            monitor.close(timeout=5)
        states = (torch.get_rng_state().tolist(), random.getstate(), np.random.get_state()[1].tolist())
        modes = [module.training for module in model.modules()]
        outcomes.append((losses, model.state_dict(), optimizer.state_dict(), states, modes))
    (losses, weights, moments, *rest), (losses_, weights_, moments_, *rest_) = outcomes
    # NaN losses are equal too.
    assert np.array_equal(losses, losses_, equal_nan=True)
    assert rest == rest_
    assert all(torch.equal(_numbers(weights[k]), _numbers(weights_[k])) for k in weights)
    for mine, theirs in zip(moments["state"].values(), moments_["state"].values(), strict=True):
        assert all(torch.equal(mine[k].nan_to_num(), theirs[k].nan_to_num()) for k in mine)


def _numbers(weight: torch.Tensor) -> torch.Tensor:
    """What a weight stands for, however it is stored."""
    if hasattr(weight, "__tensor_flatten__"):
        weight = weight.dequantize()
    return weight.double().nan_to_num()
