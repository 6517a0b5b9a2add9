"""Exact folding of random networks against dense float64 sampling: every r1 and every r2."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

import foldmon
from tests.folding.dense import Sites, dense_folding

# A prime number of gaps: a breakpoint at a simple fraction, where a code may hold in passing, is no point.
POINTS = 20_012
# A unit that an earlier layer holds at its threshold is not above it, whatever rounding makes of it.
ROUNDING = 1e-11

ACTIVATIONS: list[tuple[Callable[[], nn.Module], tuple[float, ...]]] = [
    (nn.ReLU, (0.0,)),
    (lambda: nn.ReLU(inplace=True), (0.0,)),
    (lambda: nn.LeakyReLU(-0.5), (0.0,)),
    (lambda: nn.PReLU(1, -0.7), (0.0,)),
    (nn.ReLU6, (0.0, 6.0)),
    (lambda: nn.Hardtanh(-0.5, 0.75), (-0.5, 0.75)),
    (lambda: nn.Softshrink(0.3), (-0.3, 0.3)),
]
POOLS: list[Callable[[], nn.Module]] = [
    lambda: nn.MaxPool2d(2),
    lambda: nn.MaxPool2d(3, stride=2, padding=1),
    lambda: nn.MaxPool2d(2, stride=1, dilation=2),
    lambda: nn.MaxPool2d(3, stride=2, ceil_mode=True),
    lambda: nn.Sequential(nn.MaxPool2d(2, stride=1), nn.MaxPool2d(2)),
    lambda: nn.AdaptiveMaxPool2d(2),
    lambda: nn.AvgPool2d(2),
]


class Sum(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.inner(x)


class Builder:
    """Puts random activations into a network and remembers where."""

    def __init__(self, seed: int) -> None:
        self.choice = random.Random(seed).choice
        self.sites: list[tuple[nn.Module, tuple[float, ...]]] = []

    def activation(self) -> nn.Module:
        make, thresholds = self.choice(ACTIVATIONS)
        self.sites.append((make(), thresholds))
        return self.sites[-1][0]

    def residual(self) -> nn.Sequential:
        blocks = [
            Sum(nn.Sequential(nn.BatchNorm1d(12), self.activation(), nn.Linear(12, 12), self.activation()))
            for _ in range(2)
        ]
        return nn.Sequential(nn.Linear(6, 12), *blocks, nn.BatchNorm1d(12), self.activation())

    def cnn(self) -> nn.Sequential:
        middle = [self.activation(), self.choice(POOLS)()]
        if self.choice((True, False)):
            middle.reverse()
        return nn.Sequential(
            nn.Conv2d(1, 3, 3, padding=1), nn.BatchNorm2d(3), *middle,
            nn.Conv2d(3, 4, 3, padding=1), self.activation(), nn.AdaptiveAvgPool2d(2),
            nn.Flatten(), nn.Linear(16, 8), self.activation(),
        )  # fmt: skip

    def whole_numbers(self) -> nn.Sequential:
        """Weights and biases that make units cross together, touch their thresholds and stay on them."""
        layers: list[nn.Module] = []
        for width in (3, 5, 5):
            linear = nn.Linear(width, 5).double()
            linear.weight.data = torch.randint(-1, 2, linear.weight.shape).double() / self.choice((1, 2, 3))
            linear.bias.data = torch.randint(-1, 2, linear.bias.shape).double() * self.choice((0, 1, 1 / 3))
            layers += [linear, self.activation()]
        return nn.Sequential(*layers)


def assert_equals_dense(model: nn.Module, x1: torch.Tensor, x2: torch.Tensor, sites: Sites) -> None:
    report = foldmon.measure(model, (x1, x2), method="exact")
    raised = [(module, tuple(cut + ROUNDING for cut in cuts)) for module, cuts in sites]
    expected = dense_folding(model, x1, x2, raised, POINTS)
    assert report.exact
    for got, wanted in zip((report.r1, report.r2, report.r1_cumulative), expected, strict=True):
        np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(("kind", "shape"), [("residual", (6,)), ("cnn", (1, 6, 6))])
def test_random_networks(kind: str, shape: tuple[int, ...], seed: int) -> None:
    torch.manual_seed(seed)
    builder = Builder(seed)
    model = getattr(builder, kind)().double().eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.running_mean.normal_(std=0.3)
            module.running_var.uniform_(0.3, 2.0)
            module.weight.data.normal_()
            module.bias.data.normal_(std=0.3)
    x1, x2 = 2 * torch.randn(2, 3, *shape, dtype=torch.float64)
    assert_equals_dense(model, x1, x2, builder.sites)


@pytest.mark.parametrize("seed", range(12))
def test_degenerate_networks(seed: int) -> None:
    torch.manual_seed(seed)
    builder = Builder(seed)
    model = builder.whole_numbers().double()
    x1, x2 = torch.randint(-3, 4, (2, 4, 3)).double()
    x2[0] = x1[0]
    assert_equals_dense(model, x1, x2, builder.sites)
