"""The fast measurement equals the slow and obvious one, number for number."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import foldmon
from tests.folding.reference import Folding, Recorded, folding, recorded_codes


class Residual(nn.Module):
    """Two residual blocks that share one in-place ReLU, as torchvision's do."""

    def __init__(self) -> None:
        super().__init__()
        self.inside, self.a, self.b = nn.Linear(4, 7), nn.Linear(7, 7), nn.Linear(7, 7)
        self.relu: nn.Module = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.inside(x))
        x = self.relu(x + self.a(x))
        y: Tensor = self.relu(x + self.b(x))
        return y


def mlp() -> tuple[nn.Module, tuple[int, ...]]:
    return nn.Sequential(
        nn.Linear(3, 9), nn.ReLU(), nn.Linear(9, 70), nn.ReLU(inplace=True), nn.Linear(70, 5), nn.ReLU()
    ), (3,)


def cnn() -> tuple[nn.Module, tuple[int, ...]]:
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(4, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(3, 6), nn.ReLU(),
    ), (2, 6, 6)  # fmt: skip


def residual() -> tuple[nn.Module, tuple[int, ...]]:
    return Residual(), (4,)


def _with_records(model: nn.Module, records: list[Tensor]) -> nn.Module:
    copied = copy.deepcopy(model).eval()
    for parent in list(copied.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.ReLU):
                setattr(parent, name, Recorded(child, records))
    return copied


def _reference(model: nn.Module, x1: Tensor, x2: Tensor, points: int) -> Folding:
    records: list[Tensor] = []
    return folding(recorded_codes(_with_records(model, records), records), x1, x2, points)


@pytest.mark.parametrize("build", [mlp, cnn, residual])
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("chunk", [None, 1, 7, 40])
def test_equals_the_reference(
    build: Callable[[], tuple[nn.Module, tuple[int, ...]]], seed: int, chunk: int | None
) -> None:
    torch.manual_seed(seed)
    model, shape = build()
    model = model.double()
    x1, x2 = torch.randn(4, *shape, dtype=torch.float64), torch.randn(4, *shape, dtype=torch.float64)
    slow = _reference(model, 3 * x1, 3 * x2, 13)
    fast = foldmon.measure(model, (3 * x1, 3 * x2), points=13, chunk=chunk)
    assert slow.r2.sum() > 20  # paths that cross something
    np.testing.assert_array_equal(fast.r1, slow.r1)
    np.testing.assert_array_equal(fast.r2, slow.r2)
    np.testing.assert_array_equal(fast.r1_cumulative, slow.r1_cumulative)
    np.testing.assert_array_equal(fast.r2_cumulative, slow.r2_cumulative)
    np.testing.assert_allclose(fast.chi, slow.chi)
    np.testing.assert_allclose(fast.chi_cumulative, slow.chi_cumulative)
    np.testing.assert_allclose(fast.chi_network, slow.chi_cumulative[:, -1])
    assert fast.phi == pytest.approx(slow.chi_cumulative[:, -1].mean())
    assert fast.evaluations >= 4 * 13


def test_layers_of_the_residual_net_are_the_calls_of_its_one_relu() -> None:
    model = Residual()
    report = foldmon.measure(model, (torch.zeros(2, 4), torch.ones(2, 4)))
    assert report.layers == ("relu", "relu:1", "relu:2")
    assert report.units == (7, 7, 7)


class CantorNet(nn.Module):
    """DESIGN's check: k blocks of two ReLU layers, then one ReLU output unit."""

    def __init__(self, k: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList()
        for _ in range(k):
            first, second = nn.Linear(2, 3), nn.Linear(3, 2)
            first.weight.data = torch.tensor([[3.0, 0.0], [-3.0, 0.0], [0.0, 1.0]])
            first.bias.data = torch.tensor([-2.0, 1.0, 0.0])
            second.weight.data = torch.tensor([[1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
            second.bias.data.zero_()
            self.blocks.append(nn.Sequential(first, nn.ReLU(), second, nn.ReLU()))
        output = nn.Linear(2, 1)
        output.weight.data, output.bias.data = torch.tensor([[-0.5, 1.0]]), torch.tensor([-0.5])
        self.output = nn.Sequential(output, nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        y: Tensor = self.output(x)
        return y


@pytest.mark.parametrize(("k", "r1", "r2"), [(1, 3, 6), (2, 5, 16), (3, 7, 36)])
def test_cantornet_folds_as_published(k: int, r1: int, r2: int) -> None:
    ends = (torch.tensor([[0.013, 0.74]]).double(), torch.tensor([[0.987, 0.72]]).double())
    report = foldmon.measure(CantorNet(k).double(), ends, points=4001)
    assert (report.r1_cumulative[0, -1], report.r2_cumulative[0, -1]) == (r1, r2)
    assert report.phi == pytest.approx(1 - r1 / r2)
