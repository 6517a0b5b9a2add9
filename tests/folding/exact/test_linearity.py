"""Which parts of a model are taken for linear, for bends, for curves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

import foldmon
from foldmon.folding.exact.linearity import (
    Linearity,
    kink_of_call,
    linearity_of_call,
    linearity_of_site,
)
from foldmon.folding.symbols.functions import as_function

WEIGHT, SCALE = nn.Parameter(torch.ones(4, 4)), nn.Parameter(torch.ones(4))


def shape_of(function: Callable[[Tensor], object]) -> Linearity:
    """The worst of all calls that ``function`` makes."""
    seen = [Linearity.LINEAR]

    class Judge(TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            seen.append(linearity_of_call(func, args, kwargs or {}))
            return func(*args, **(kwargs or {}))

    x = torch.randn(2, 4)
    with Judge(), torch.no_grad():
        function(x)
    return max(seen)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: 1 - 2 * x / 3 + x.mean(1, keepdim=True),
        lambda x: x @ WEIGHT,
        lambda x: F.linear(x, WEIGHT) * SCALE / SCALE,
        lambda x: F.dropout(x, training=False).view(x.size(0), -1)[:, :2],
        lambda x: F.batch_norm(x, torch.zeros(4), torch.ones(4)),
        lambda x: torch.cat([x.flatten(1), x.T.T], 1).reshape(-1),
        lambda x: F.avg_pool1d(x[None], 2),
        lambda x: x.to(torch.float64).to("cpu").to(x),
    ],
)
def test_linear(function: Callable[[Tensor], object]) -> None:
    assert shape_of(function) == Linearity.LINEAR


@pytest.mark.parametrize("function", [torch.abs, lambda x: x.clamp(0, 1), lambda x: x.max(1), torch.sort])
def test_selections_bend(function: Callable[[Tensor], object]) -> None:
    assert shape_of(function) == Linearity.HIDDEN


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x * x,
        lambda x: x @ x.T,
        lambda x: 1 / x,
        lambda x: SCALE / x,
        lambda x: F.softmax(x, 1),
        lambda x: F.layer_norm(x, (4,)),
        lambda x: F.dropout(x),
        lambda x: F.batch_norm(x, None, None, training=True),
        torch.exp,
        lambda x: x**2,
        lambda x: x.to(torch.int64),
        lambda x: x.type("torch.IntTensor"),
        lambda x: x.to(torch.float16),
        lambda x: torch.div(x, 2, rounding_mode="trunc"),
        lambda x: torch.einsum("ij,ij->i", [x, x]),
    ],
)
def test_curves(function: Callable[[Tensor], object]) -> None:
    assert shape_of(function) == Linearity.CURVED


def test_sites() -> None:
    class Own(nn.Module):
        pass

    modules = {"relu": nn.ReLU(), "gelu": nn.GELU(), "own": Own(), "swish": nn.Hardswish()}
    shapes = {site: linearity_of_site(site, modules) for site in (*modules, "relu:2", "x/relu", "x/silu:1")}
    assert shapes == {
        "relu": Linearity.LINEAR,
        "gelu": Linearity.CURVED,
        "own": Linearity.HIDDEN,
        "swish": Linearity.CURVED,
        "relu:2": Linearity.LINEAR,
        "x/relu": Linearity.LINEAR,
        "x/silu:1": Linearity.CURVED,
    }


@pytest.mark.parametrize(
    ("function", "args", "kwargs", "thresholds"),
    [
        (torch.abs, (), {}, (0.0,)),
        (torch.clamp, (), {"max": 2.0}, (2.0,)),
        (torch.clamp, (-1, 1), {}, (-1.0, 1.0)),
        (torch.clamp_max, (3.0,), {}, (3.0,)),
        (torch.clamp_min, (3.0,), {}, (3.0,)),
        (torch.minimum, (torch.ones(2, 4),), {}, (0.0,)),
    ],
)
def test_bends_with_thresholds(function, args, kwargs, thresholds) -> None:
    bend = kink_of_call(function, (torch.zeros(2, 4), *args), kwargs)
    assert bend is not None
    assert bend.thresholds == thresholds


def test_bends_that_stay_unknown() -> None:
    x = torch.zeros(2, 4)
    assert kink_of_call(torch.amax, (x, 1), {}) is None
    assert kink_of_call(torch.clamp, (x, torch.zeros(4)), {}) is None
    assert kink_of_call(torch.exp, (x,), {}) is None


@pytest.mark.parametrize(
    "act", [lambda z: z.clamp(min=0), lambda z: z.clamp_min(0), lambda z: torch.clip(input=z, min=0.0)]
)
def test_a_clamp_from_below_at_zero_is_relu(act: Any) -> None:
    class Net(nn.Module):
        def __init__(self, act: Any) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.linears = nn.ModuleList([nn.Linear(8, 8) for _ in range(4)])
            self.act = act

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for linear in self.linears:
                x = self.act(linear(x))
            return x

    ends = torch.randn(6, 8), torch.randn(6, 8)
    relu, clamp = (foldmon.measure(Net(each), ends, method="exact") for each in (torch.relu, act))
    assert clamp.exact
    assert clamp.evaluations == relu.evaluations
    np.testing.assert_array_equal(clamp.r1, relu.r1)
    np.testing.assert_array_equal(clamp.r2, relu.r2)


class Mean(torch.autograd.Function):
    """Not in Python's sight: what an operator of another library would be."""

    @staticmethod
    def forward(ctx, x):
        return torch.sin(3 * x)


_LIBRARY = torch.library.Library("foldmon_tests", "DEF")
_LIBRARY.define("mean(Tensor x) -> Tensor")
_LIBRARY.define("relu(Tensor x) -> Tensor")
_LIBRARY.impl("mean", lambda x: torch.sin(3 * x), "CompositeExplicitAutograd")
_LIBRARY.impl("relu", lambda x: torch.sin(3 * x), "CompositeExplicitAutograd")


@torch.library.custom_op("foldmon_tests::cumsum", mutates_args=())
def cumsum(x: Tensor) -> Tensor:
    return torch.sin(3 * x)


def mean(x: Tensor) -> Tensor:
    if torch.overrides.has_torch_function_unary(x):
        return torch.overrides.handle_torch_function(mean, (x,), x)
    return torch.sin(3 * x)


FOREIGN = {
    "an operator": lambda x: torch.ops.foldmon_tests.mean(x),
    "an overload": lambda x: torch.ops.foldmon_tests.mean.default(x),
    "a custom op": cumsum,
    "a function of that name": mean,
    "an operator called relu": lambda x: torch.ops.foldmon_tests.relu(x),
}


@pytest.mark.parametrize("operator", FOREIGN.values(), ids=FOREIGN)
def test_what_goes_by_the_name_of_a_linear_function_is_not_linear_for_it(operator) -> None:
    assert shape_of(operator) == Linearity.CURVED


@pytest.mark.parametrize(
    "operator", [*FOREIGN.values(), Mean.apply], ids=[*FOREIGN, "compiled code that no hook sees"]
)
def test_what_goes_by_the_name_of_a_linear_function_is_never_certified(operator) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.one, self.two, self.act = nn.Linear(4, 8), nn.Linear(8, 8), nn.ReLU()

        def forward(self, x: Tensor) -> Tensor:
            return self.act(self.two(operator(self.one(x))))

    ends = torch.randn(2, 4), torch.randn(2, 4)
    found, sampled = (foldmon.measure(Net(), ends, method=m, points=2049) for m in ("exact", "sampled"))
    assert not found.exact
    assert (found.r2 >= sampled.r2).all()


def test_operators_of_torchs_own_are_linear_by_what_they_are() -> None:
    ops = torch.ops.aten.mean.dim, torch.ops.aten.add, torch.ops.aten.mean
    x = (torch.randn(2, 4),)
    assert {linearity_of_call(as_function(op), x, {}) for op in ops} == {Linearity.LINEAR}
