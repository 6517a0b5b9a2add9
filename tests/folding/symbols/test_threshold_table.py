"""Every row of the threshold table, as a module and as every functional spelling."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import foldmon
from tests.folding.reference import folding

Cuts = tuple[float, ...]

MODULES: list[tuple[nn.Module, Cuts]] = [
    *((module, (0.0,)) for module in (
        nn.ReLU(), nn.ReLU(inplace=True), nn.LeakyReLU(), nn.PReLU(), nn.RReLU(), nn.ELU(), nn.CELU(),
        nn.SELU(), nn.GELU(), nn.GELU("tanh"), nn.SiLU(), nn.Mish(), nn.Softplus(), nn.Tanh(),
        nn.Tanhshrink(), nn.Softsign(), nn.Sigmoid(), nn.LogSigmoid(),
    )),
    (nn.ReLU6(), (0.0, 6.0)),
    (nn.Hardtanh(), (-1.0, 1.0)),
    (nn.Hardtanh(-0.3, 2.5), (-0.3, 2.5)),
    (nn.Hardsigmoid(), (-3.0, 3.0)),
    (nn.Hardswish(), (-3.0, 3.0)),
    (nn.Hardshrink(), (-0.5, 0.5)),
    (nn.Hardshrink(1.5), (-1.5, 1.5)),
    (nn.Softshrink(), (-0.5, 0.5)),
    (nn.Softshrink(2.0), (-2.0, 2.0)),
    (nn.Softshrink(0.0), (0.0,)),
    (nn.Threshold(0.7, -9.0), (0.7,)),
]  # fmt: skip

WEIGHT = torch.tensor([0.25])
FUNCTIONS: list[tuple[str, Callable[[Tensor], Any], Cuts]] = [
    ("relu", F.relu, (0.0,)),
    ("relu", torch.relu, (0.0,)),
    ("relu", lambda z: z.relu(), (0.0,)),
    ("relu", lambda z: z.relu_(), (0.0,)),
    ("relu", torch.relu_, (0.0,)),
    ("relu", lambda z: F.relu(z, inplace=True), (0.0,)),
    ("relu", lambda z: F.relu(input=z), (0.0,)),
    ("relu", lambda z: torch.relu(input=z), (0.0,)),
    ("clamp", lambda z: z.clamp(min=0), (0.0,)),
    ("clamp", lambda z: torch.clamp(z, 0), (0.0,)),
    ("clamp", lambda z: torch.clamp(input=z, min=0.0), (0.0,)),
    ("clamp", lambda z: z.clamp_(min=0), (0.0,)),
    ("clip", lambda z: z.clip(0), (0.0,)),
    ("clamp_min", lambda z: z.clamp_min(0), (0.0,)),
    ("clamp_min", lambda z: torch.clamp_min(z, min=0), (0.0,)),
    ("leaky_relu", F.leaky_relu, (0.0,)),
    ("leaky_relu", lambda z: F.leaky_relu_(z), (0.0,)),
    ("prelu", lambda z: F.prelu(z, WEIGHT.to(z.dtype)), (0.0,)),
    ("prelu", lambda z: torch.prelu(z, WEIGHT.to(z.dtype)), (0.0,)),
    ("prelu", lambda z: z.prelu(WEIGHT.to(z.dtype)), (0.0,)),
    ("rrelu", F.rrelu, (0.0,)),
    ("elu", F.elu, (0.0,)),
    ("elu", lambda z: F.elu_(z), (0.0,)),
    ("celu", F.celu, (0.0,)),
    ("celu", torch.celu, (0.0,)),
    ("selu", F.selu, (0.0,)),
    ("selu", torch.selu_, (0.0,)),
    ("gelu", F.gelu, (0.0,)),
    ("gelu", lambda z: F.gelu(z, approximate="tanh"), (0.0,)),
    ("silu", F.silu, (0.0,)),
    ("silu", lambda z: F.silu(z, inplace=True), (0.0,)),
    ("mish", F.mish, (0.0,)),
    ("softplus", F.softplus, (0.0,)),
    ("tanh", torch.tanh, (0.0,)),
    ("tanh", F.tanh, (0.0,)),
    ("tanh", lambda z: z.tanh(), (0.0,)),
    ("tanh", lambda z: z.tanh_(), (0.0,)),
    ("tanhshrink", F.tanhshrink, (0.0,)),
    ("softsign", F.softsign, (0.0,)),
    ("sigmoid", torch.sigmoid, (0.0,)),
    ("sigmoid", F.sigmoid, (0.0,)),
    ("sigmoid", lambda z: z.sigmoid(), (0.0,)),
    ("sigmoid", torch.special.expit, (0.0,)),
    ("logsigmoid", F.logsigmoid, (0.0,)),
    ("relu6", F.relu6, (0.0, 6.0)),
    ("hardsigmoid", F.hardsigmoid, (-3.0, 3.0)),
    ("hardswish", F.hardswish, (-3.0, 3.0)),
    ("hardtanh", F.hardtanh, (-1.0, 1.0)),
    ("hardtanh", lambda z: F.hardtanh(z, -0.5, 2.0), (-0.5, 2.0)),
    ("hardtanh", lambda z: F.hardtanh_(z, max_val=0.25), (-1.0, 0.25)),
    ("hardshrink", F.hardshrink, (-0.5, 0.5)),
    ("hardshrink", lambda z: z.hardshrink(1.0), (-1.0, 1.0)),
    ("softshrink", F.softshrink, (-0.5, 0.5)),
    ("softshrink", lambda z: F.softshrink(z, lambd=2.0), (-2.0, 2.0)),
    ("threshold", lambda z: F.threshold(z, 0.7, -9.0), (0.7,)),
    ("threshold", lambda z: torch.threshold(z, threshold=1.5, value=0.0), (1.5,)),
]


class Calls(nn.Module):
    """A linear layer whose output goes through a functional activation."""

    def __init__(self, act: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.linear, self.act = nn.Linear(3, 10), act

    def forward(self, x: Tensor) -> Any:
        return self.act(5 * self.linear(x))


def _paths() -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    return torch.randn(3, 3).double(), torch.randn(3, 3).double()


def _expected(linear: nn.Linear, cuts: Cuts, half: slice = slice(None)) -> np.ndarray:
    """(r1, r2) with symbols counted in plain Python."""

    def codes_of(x: Tensor) -> list[list[int]]:
        z = (5 * linear(x)).reshape(-1).tolist()[half]
        return [[sum(1 for cut in cuts if value > cut) for value in z]]

    with torch.no_grad():
        slow = folding(codes_of, *_paths(), points=17)
    return np.stack([slow.r1, slow.r2])


def _check(model: Calls, name: str, cuts: Cuts, half: slice = slice(None)) -> None:
    report = foldmon.measure(model.double(), _paths(), points=17)
    expected = _expected(model.linear, cuts, half)
    assert report.layers == (name,)
    assert expected[1].sum() > 0
    np.testing.assert_array_equal(np.stack([report.r1, report.r2]), expected)


@pytest.mark.parametrize(("module", "cuts"), MODULES, ids=lambda value: str(value))
def test_module(module: nn.Module, cuts: Cuts) -> None:
    _check(Calls(module), "act", cuts)


@pytest.mark.parametrize(("name", "function", "cuts"), FUNCTIONS)
def test_function(name: str, function: Callable[[Tensor], Any], cuts: Cuts) -> None:
    _check(Calls(function), f"/{name}", cuts)


@pytest.mark.parametrize(
    ("act", "name"), [(nn.GLU(), "act"), (F.glu, "/glu"), (lambda z: F.glu(z, dim=1), "/glu")]
)
def test_glu_counts_its_gate_half_only(act: Callable[[Tensor], Any], name: str) -> None:
    _check(Calls(act), name, (0.0,), slice(5, None))


def test_a_symbol_jump_over_two_thresholds_is_one_differing_unit() -> None:
    model = nn.Sequential(nn.Hardtanh())
    report = foldmon.measure(model, (torch.tensor([[-5.0]]), torch.tensor([[5.0]])), points=2)
    assert (report.r1.item(), report.r2.item()) == (1, 1)


def test_exactly_on_a_threshold_lies_in_the_piece_below() -> None:
    model = nn.Sequential(nn.ReLU())
    at_zero, above = torch.zeros(1, 1), torch.ones(1, 1)
    assert foldmon.measure(model, (-above, at_zero), points=2).r2.item() == 0
    assert foldmon.measure(model, (at_zero, above), points=2).r2.item() == 1
