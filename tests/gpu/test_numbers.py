"""A device's numbers against the CPU's, within the rounding of its kernels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import foldmon
from tests.gpu.tasks import images, network


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(0)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    return network().double().eval()


@pytest.fixture
def pairs() -> tuple[torch.Tensor, torch.Tensor]:
    x, _ = images(32, 3)
    return x[:16].double(), x[16:].double()


def test_sampled(device, model, pairs):
    on_cpu = foldmon.measure(model, pairs, points=17)
    found = foldmon.measure(model.to(device), pairs, points=17)
    # In float64 a sign differs only where a pre-activation is 1e-14 from its threshold.
    for name in ("r1", "r2", "r1_cumulative", "nonfinite"):
        np.testing.assert_allclose(getattr(found, name), getattr(on_cpu, name), atol=1, err_msg=name)
    np.testing.assert_allclose(found.chi_network, on_cpu.chi_network, atol=1e-4)
    np.testing.assert_allclose(found.dead, on_cpu.dead, atol=1e-3)
    np.testing.assert_array_equal(found.decision.changes, on_cpu.decision.changes)
    assert (found.layers, found.units) == (on_cpu.layers, on_cpu.units)


def test_sampled_in_float32(device, model, pairs):
    model, pairs = model.float(), tuple(x.float() for x in pairs)
    on_cpu = foldmon.measure(model, pairs, points=17)
    found = foldmon.measure(model.to(device), pairs, points=17)
    np.testing.assert_allclose(found.chi_network, on_cpu.chi_network, atol=0.005)


def test_exact(device):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 3)).double()
    pairs = torch.randn(8, 6, dtype=torch.float64), torch.randn(8, 6, dtype=torch.float64)
    on_cpu = foldmon.measure(net, pairs, method="exact")
    found = foldmon.measure(net.to(device), pairs, method="exact")
    assert found.exact
    assert on_cpu.exact
    np.testing.assert_array_equal(found.r2, on_cpu.r2)
    np.testing.assert_array_equal(found.r1_cumulative, on_cpu.r1_cumulative)


def test_held_out_predictions(device, model):
    data = images(64, 4)
    found = []
    for where in ("cpu", device):
        monitor = foldmon.watch(model.float().to(where), data, pairs=8, points=5, exporters=[], every=1)
        monitor.flush()
        found.append(monitor.report.held_out)
        monitor.close()
    assert found[0].accuracy == found[1].accuracy
    assert found[0].loss == pytest.approx(found[1].loss, rel=1e-3)
