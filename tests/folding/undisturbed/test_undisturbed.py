"""A model that changes itself in a forward pass is put back."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import foldmon
from foldmon.folding.undisturbed.buffers import exchanged_buffers
from foldmon.folding.undisturbed.reach import walk


class Counting(nn.Module):
    """Writes to one buffer and replaces another, also in eval mode."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.register_buffer("calls", torch.zeros(()))
        self.register_buffer("mean", torch.zeros(4))

    def forward(self, x: Tensor) -> Any:
        self.calls += 1
        self.mean = x.mean(0)
        return torch.relu(self.linear(x))


class Swapping(nn.Module):
    """Puts in another submodule when it first runs, as BigBird does for short sequences."""

    def __init__(self) -> None:
        super().__init__()
        self.inner: nn.Module = nn.Dropout(0.1)

    def forward(self, x: Tensor) -> Any:
        if isinstance(self.inner, nn.Dropout):
            self.inner = nn.Sequential(nn.Dropout(0.2), nn.Identity())
            self.inner.train(self.training)
        return torch.relu(self.inner(x))


ENDS = torch.randn(3, 4), torch.randn(3, 4)


def test_buffers_are_the_same_tensors_with_the_same_values() -> None:
    model = Counting()
    calls, mean, version = model.calls, model.mean, model.calls._version
    foldmon.measure(model, ENDS)
    assert model.calls is calls
    assert model.mean is mean
    assert calls._version == version
    assert calls == 0
    assert mean.tolist() == [0] * 4


def test_a_model_that_cannot_be_copied_keeps_its_buffers_too() -> None:
    model = Counting()
    model.lock = __import__("threading").Lock()
    with foldmon.watch(model, torch.randn(20, 4), exporters=[], every=1) as monitor:
        monitor.probe()
    assert model.calls == 0


def test_shared_buffers_stay_shared() -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = Counting(), Counting()
            self.b.calls = self.a.calls

        def forward(self, x: Tensor) -> Any:
            out = self.b(self.a(x))
            assert self.a.calls is self.b.calls
            return out

    foldmon.measure(Shared(), ENDS)


def test_modules_that_came_in_during_the_pass_are_gone() -> None:
    model = Swapping().train()
    inner = model.inner
    foldmon.measure(model, ENDS)
    assert all(module.training for module in model.modules())
    assert model.inner is inner


@pytest.mark.parametrize("fails", [False, True])
def test_another_ranks_buffers_leave_with_the_block(fails: bool) -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.ReLU())
    own = dict(model.named_buffers())
    values = {name: buffer.clone() for name, buffer in own.items()}
    with (
        pytest.raises(ZeroDivisionError) if fails else nullcontext(),
        exchanged_buffers(model, lambda mine: [torch.ones_like(buffer) for buffer in mine]),
    ):
        assert model[1].running_mean.tolist() == [1.0] * 4
        model[1].running_mean.add_(1.0)
        if fails:
            raise ZeroDivisionError
    for name, buffer in model.named_buffers():
        assert buffer is own[name]
        assert torch.equal(buffer, values[name])


def test_weights_and_buffers_of_a_scripted_module_are_reached() -> None:
    scripted = torch.jit.script(nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)))
    held = [thing.data_ptr() for thing in walk([scripted]).values() if isinstance(thing, Tensor)]
    assert {tensor.data_ptr() for tensor in (*scripted.parameters(), *scripted.buffers())} <= {*held}
