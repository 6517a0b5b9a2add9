"""How a walk is cut into passes and its codes into groups changes no number."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

import foldmon
from foldmon import Pairs
from foldmon.folding.model.prober import Prober
from foldmon.folding.results.report import FoldingReport
from foldmon.folding.sampled import walk
from foldmon.folding.symbols import registry


class Mixed(nn.Module):
    """Sites of odd widths, one and two cuts, integer symbols, in place and functional."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.pool = nn.Conv2d(1, 3, 3), nn.MaxPool2d(2)
        self.wide, self.narrow, self.out = nn.Linear(27, 100), nn.Linear(100, 10), nn.Linear(10, 3)
        self.relu, self.hard = nn.ReLU(inplace=True), nn.Hardtanh()

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.relu(self.conv(x))).flatten(1)
        return self.out(F.gelu(self.narrow(self.hard(self.wide(x)))))


def numbers(report: FoldingReport) -> list[np.ndarray]:
    assert report.decision is not None
    return [
        report.r1, report.r2, report.r1_cumulative, report.dead, report.saturated, report.nonfinite,
        report.decision.changes, report.decision.ends,
    ]  # fmt: skip


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
@pytest.mark.parametrize("codes", [0, 100, 5000])
@pytest.mark.parametrize("chunk", [None, 1, 4, 40])
def test_groups_of_codes_do_not_matter(
    dtype: torch.dtype, codes: int, chunk: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(registry._by_class, nn.MaxPool2d, registry._read_selected_index)
    torch.manual_seed(0)
    # Small integers are exact in every type and order of summation, so that passes of any size agree.
    model = Mixed().to(dtype).eval()
    for weight in model.parameters():
        weight.data = torch.randint(-1, 2, weight.shape).to(dtype)
    ends = torch.randint(-2, 3, (2, 5, 1, 8, 8)).to(dtype)
    whole = foldmon.measure(model, (ends[0], ends[1]), points=5)
    assert (whole.r2.sum(0) > 0).tolist() == [True] * 4
    monkeypatch.setattr(walk, "CODES_BYTES", codes)
    parts = foldmon.measure(model, (ends[0], ends[1]), points=5, chunk=chunk)
    for a, b in zip(numbers(whole), numbers(parts), strict=True):
        np.testing.assert_array_equal(a, b)


@given(st.integers(1, 300), st.integers(2, 40), st.integers(1, 500))
def test_passes_are_few_equal_and_small_enough(paths: int, points: int, rows: int) -> None:
    passes, left = [], paths
    while left:
        passes.append(walk.paths_at_once(left, points, rows))
        left -= passes[-1]
    most = max(1, rows // points)
    assert len(passes) == -(-paths // most)
    assert max(passes) <= most
    assert max(passes) - min(passes) <= 1


def test_nothing_is_intercepted_between_passes() -> None:
    prober = Prober(nn.Sequential(nn.Linear(2, 4), nn.ReLU()), Pairs(torch.zeros(1, 2), torch.ones(1, 2)))
    depths = []
    with prober.active():
        depths.append(torch._C._len_torch_function_stack())
        prober.run(torch.tensor([[0]]), torch.tensor([[0.0], [1.0]]), lambda *_: None)
        depths.append(torch._C._len_torch_function_stack())
    assert depths == [0, 0]


class OneNumber(nn.Module):
    """Its last activation is given a single number an input, without a dimension for it."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.out, self.last = nn.Linear(6, 16), nn.Linear(16, 1), nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.out(F.relu(self.hidden(x))).squeeze(1))


class OneColumn(OneNumber):
    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.out(F.relu(self.hidden(x))))


@pytest.mark.parametrize("method", ["sampled", "exact", "auto"])
def test_a_single_number_an_input_is_a_layer_of_one_unit(method: Any) -> None:
    torch.manual_seed(0)
    flat, column = OneNumber(), OneColumn()
    nn.init.zeros_(flat.out.bias)
    nn.init.normal_(flat.out.weight)
    column.load_state_dict(flat.state_dict())
    pairs = Pairs(torch.randn(12, 6), torch.randn(12, 6))
    found, expected = (foldmon.measure(model, pairs, method=method) for model in (flat, column))
    assert found.units == expected.units == (16, 1)
    assert found.r2[:, 1].sum() > 0
    for one, other in zip(numbers(found), numbers(expected), strict=True):
        np.testing.assert_array_equal(one, other)


class Forces(nn.Module):
    """Derives what it puts out from its energy, as models of molecules do."""

    def __init__(self) -> None:
        super().__init__()
        self.energy = nn.Sequential(nn.Linear(6, 16), nn.Softplus(), nn.Linear(16, 1))

    def forward(self, x: Tensor) -> Tensor:
        with torch.enable_grad():
            place = x.detach().requires_grad_()
            return torch.autograd.grad(self.energy(place).sum(), place)[0]


@pytest.mark.parametrize("method", ["sampled", "exact", "auto"])
def test_gradients_within_the_forward_pass_do_no_harm(method: Any) -> None:
    model = Forces()
    pairs = Pairs(torch.randn(6, 6), torch.randn(6, 6))
    found = foldmon.measure(model, pairs, method=method)
    expected = foldmon.measure(model.energy, pairs, method=method)
    np.testing.assert_array_equal(found.r2, expected.r2)
    assert found.r2.sum() > 0
