"""Functions that ``torch.compile`` decorates were compiled anew for the hooks of every probe.

Eight compilations later dynamo gave up on them, and training ran them uncompiled from then on.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import foldmon

compilations: list[int] = []


def count(graph: Any, inputs: Any) -> Any:
    compilations.append(1)
    return graph.forward


@torch.compile(backend=count)
def doubled(x: Tensor) -> Tensor:
    return 2 * F.relu(x)


class CallsFunction(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 8)

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(doubled(self.linear(x)))


class CompiledMethod(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 8)

    @torch.compile(backend=count)
    def inner(self, x: Tensor) -> Tensor:
        return F.relu(self.linear(x))

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(self.inner(x))


@pytest.mark.parametrize("cls", [CallsFunction, CompiledMethod])
def test_probes_compile_nothing_and_see_into_compiled_functions(cls: type[nn.Module]) -> None:
    torch.compiler.reset()
    compilations.clear()
    model, x = cls(), torch.randn(6, 4)
    expected = model(x)
    assert len(compilations) == 1
    assert foldmon.measure(model, (x, -x)).layers == ("/relu", "/tanh")
    with foldmon.watch(model, torch.randn(20, 4), exporters=[], pairs=4, points=3) as monitor:
        for _ in range(3):
            assert monitor.probe().layers == ("/relu", "/tanh")
        # Beside training, what keeps them eager would do so in training too.
        assert monitor._subject.reason == "its forward pass calls functions under torch.compile"
    assert torch.equal(model(x), expected)
    assert len(compilations) == 1


def test_a_compiled_module_is_still_measured_beside_training() -> None:
    torch.compiler.reset()
    model = torch.compile(nn.Sequential(nn.Linear(4, 8), nn.ReLU()), backend=count)
    model(torch.randn(6, 4))
    with foldmon.watch(model, torch.randn(20, 4), exporters=[], pairs=4, points=3) as monitor:
        assert monitor._subject.background
