"""A monitor keeps what it knows of the model's layers from probe to probe, and notices when it is wrong."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import foldmon
from foldmon.folding.model.prober import Prober


class Switching(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner, self.head, self.smooth = nn.Linear(4, 8), nn.Linear(8, 2), False

    def forward(self, x: Tensor) -> Tensor:
        x = self.inner(x)
        out: Tensor = self.head(torch.tanh(x) if self.smooth else torch.relu(x))
        return out


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[weakref.ref[Prober]]:
    """All probers that were made."""
    probers: list[weakref.ref[Prober]] = []
    make = Prober.__init__

    def noted(self: Prober, *args: Any, **kwargs: Any) -> None:
        probers.append(weakref.ref(self))
        make(self, *args, **kwargs)

    monkeypatch.setattr(Prober, "__init__", noted)
    return probers


def test_layers_are_found_once_until_the_model_runs_in_another_way(
    made: list[weakref.ref[Prober]], tmp_path: Path
) -> None:
    model = Switching()
    ends = torch.randn(2, 6, 4)
    options: dict[str, Any] = {"exporters": [], "log_dir": tmp_path, "every": 10**6}
    with foldmon.watch(model, foldmon.Pairs(*ends), **options) as monitor:
        monitor.probe()
        count = len(made)
        with torch.no_grad():
            model.inner.weight.mul_(-3)
        kept = monitor.probe()
        assert len(made) == count
        np.testing.assert_array_equal(kept.r2, foldmon.measure(model, (ends[0], ends[1])).r2)
        model.smooth = True
        changed = monitor.probe()
        assert changed.layers == ("/tanh",)
        np.testing.assert_array_equal(changed.r2, foldmon.measure(model, (ends[0], ends[1])).r2)
        model.head = nn.Linear(8, 3)  # a new structure, thus a new copy
        assert monitor.probe().layers == ("/tanh",)
    gc.collect()
    assert [prober for prober in made if prober() is not None] == []
