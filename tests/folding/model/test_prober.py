"""A prober that is used again: as good as a new one, and never on stale knowledge."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from foldmon import Pairs
from foldmon.folding.model.prober import ModelChangedError, Prober
from foldmon.folding.results.report import FoldingReport
from foldmon.folding.sampled.report import measure_sampled
from foldmon.folding.symbols import registry

INPUTS = Pairs(torch.zeros(3, 4), torch.ones(3, 4))


class Model(nn.Module):
    """Runs in another way where its plain attributes say so."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(4, 8), nn.Linear(8, 8), nn.Linear(8, 3)
        self.own = Custom()
        self.functions: list[Any] = [F.relu, F.gelu]
        self.half = self.clamps = self.labels = self.calls = False

    def forward(self, x: Tensor) -> Tensor:
        x = self.functions[0](self.first(x))
        x = self.functions[1](self.second(x)[:, : 4 if self.half else 8])
        if self.clamps:
            x = x.clamp(max=1.0)
        if self.calls:
            x = self.own(x)
        x = self.head(F.pad(x, (0, 8 - x.shape[1])))
        return x.argmax(1) if self.labels else x


class Custom(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * x


def agree(a: FoldingReport, b: FoldingReport) -> bool:
    same = all(np.array_equal(getattr(a, name), getattr(b, name)) for name in ("r1", "r2", "dead"))
    assert a.decision is not None
    assert b.decision is not None
    return same and np.array_equal(a.decision.confidence, b.decision.confidence) and a.notes == b.notes


def test_a_renewed_prober_measures_new_weights_as_a_new_one_does() -> None:
    model = Model().eval()
    prober = Prober(model, INPUTS)
    before = measure_sampled(prober, 9)
    with torch.no_grad():
        model.first.bias += 0.3
    after = measure_sampled(prober, 9)
    assert agree(after, measure_sampled(Prober(model, INPUTS), 9))
    assert not agree(after, before)
    assert after.evaluations == before.evaluations == 27


def test_a_renewed_prober_embeds_tokens_with_the_new_weights() -> None:
    model = nn.Sequential(
        nn.Embedding(9, 4), nn.Flatten(), nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 3)
    ).eval()
    pairs = Pairs(*torch.randint(9, (2, 5, 3)))
    prober = Prober(model, pairs)
    measure_sampled(prober, 9)
    with torch.no_grad():
        model[0].weight.neg_()
    again = measure_sampled(prober, 9)
    assert agree(again, measure_sampled(Prober(model, pairs), 9))


@pytest.mark.parametrize(
    "change",
    [
        {"functions": [F.relu, torch.square]},  # a site is gone
        {"functions": [F.gelu, F.relu]},  # the same sites in another order
        {"functions": [F.relu, lambda x: F.silu(F.gelu(x))]},  # a site more
        {"half": True},  # fewer units
        {"clamps": True},  # a selection that has no units
        {"calls": True},  # a module that may be an activation layer
        {"labels": True},  # no logits
    ],
    ids=["site gone", "other order", "site more", "fewer units", "selection", "module", "no logits"],
)
def test_another_way_of_running_is_noticed(change: dict[str, Any]) -> None:
    model = Model().eval()
    prober = Prober(model, INPUTS)
    measure_sampled(prober, 9)
    for name, value in change.items():
        setattr(model, name, value)
    with pytest.raises(ModelChangedError, match="Model runs in another way"):
        measure_sampled(prober, 9)


def test_an_activation_registered_since_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Model().eval()
    model.calls = True
    prober = Prober(model, INPUTS)
    measure_sampled(prober, 9)
    monkeypatch.setitem(registry._by_class, Custom, registry._by_class[nn.ReLU])
    with pytest.raises(ModelChangedError):
        measure_sampled(prober, 9)
