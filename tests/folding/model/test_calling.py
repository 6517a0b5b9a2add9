"""Held-out data and models meet: what is tried where a model does not take its inputs as they are packed."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import foldmon

INPUTS, LABELS = torch.randn(60, 8, generator=torch.Generator().manual_seed(2)), torch.arange(60) % 3
ROWS = [{"x": INPUTS[i], "label": int(LABELS[i])} for i in range(60)]


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 3))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.net(x)
        return out


class OneDict(Net):
    def forward(self, batch: dict[str, Tensor]) -> Tensor:  # type: ignore[override]
        return super().forward(batch["x"])


class OneTuple(Net):
    def forward(self, pair: tuple[Tensor, Tensor]) -> Tensor:  # type: ignore[override]
        first, second = pair
        return super().forward(first + second)


class NeedsLabels(Net):
    def forward(self, x: Tensor, labels: Tensor) -> Tensor:  # type: ignore[override]
        return super().forward(x) + 0 * labels[:, None]


class AtTime(Net):
    def forward(self, x: Tensor, t: Tensor) -> Tensor:  # type: ignore[override]
        return super().forward(x * (1 + t.reshape(-1, 1)))


class Images(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 2)

    def forward(self, images: list[Tensor], targets: Any = None) -> Tensor:
        assert isinstance(images, list)
        out: Tensor = self.head(torch.relu(self.body(torch.stack(images))).mean((2, 3)))
        return out


IMAGES = [torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(i)) for i in range(6)]
TARGETS = [{"boxes": torch.zeros(2, 4)} for _ in IMAGES]


@pytest.mark.parametrize(
    ("model", "data", "understood"),
    [
        (Net(), ROWS, "inputs: {x: float32 (60, 8)}; labels: 3 classes from label"),
        (OneDict(), ROWS, "the inputs are passed as one dict"),
        (OneDict(), DataLoader(ROWS, 8), "the inputs are passed as one dict"),  # type: ignore[arg-type]
        (Net(), [row | {"id": i} for i, row in enumerate(ROWS)], "the model does not take id: left out"),
        (Net(), [{"image": INPUTS[i], "label": i % 3} for i in range(60)], "image is passed by itself"),
        (OneTuple(), ((INPUTS, INPUTS), LABELS), "the inputs are passed as one tuple"),
        (
            NeedsLabels(),
            {"x": INPUTS, "labels": LABELS},
            "inputs: {x: float32 (60, 8), labels: int64 (60,)}; labels: 3 classes from labels",
        ),
        (
            AtTime(),
            (INPUTS, torch.tensor(0.5)),
            "inputs: (float32 (60, 8), float32 () common to all); no labels",
        ),
        (
            AtTime(),
            DataLoader(TensorDataset(INPUTS, torch.rand(60))),
            "inputs: (float32 (60, 8), float32 (60,)); no labels",
        ),
        (
            Net(),
            DataLoader(TensorDataset(INPUTS, LABELS, torch.arange(60))),
            "inputs: float32 (60, 8); labels: 3 classes from element 2 of 3",
        ),
        (
            Net(),
            DataLoader(TensorDataset(INPUTS, LABELS, torch.rand(60))),
            "inputs: float32 (60, 8); labels: 3 classes from the second element",
        ),
        (Images(), IMAGES, "the inputs are passed as a list of single ones"),
        (Images(), (IMAGES, TARGETS), "the inputs are passed as a list of single ones"),
    ],
)
def test_what_is_meant_is_found_and_said(model: nn.Module, data: Any, understood: str) -> None:
    with foldmon.watch(model, data, every=1, exporters=[], background=False) as monitor:
        report = monitor.probe()
    assert understood in monitor.coverage.notes
    assert understood in monitor.summary()
    assert len(report.chi) > 0


def test_it_is_said_on_the_console(capsys: pytest.CaptureFixture[str]) -> None:
    foldmon.watch(Net(), (INPUTS, LABELS), exporters=["console"]).close()
    said = capsys.readouterr().err
    assert said.count("inputs: float32 (60, 8); labels: 3 classes from the second element") == 1


def test_what_no_way_of_calling_helps_is_refused_with_the_first_error() -> None:
    with pytest.raises(RuntimeError, match=r"Net could not be called with float32 \(\d+, 7\): .*shapes"):
        foldmon.watch(Net(), (torch.randn(60, 7), LABELS), exporters=[])


def test_a_function_of_the_users_sees_scalars_as_they_are() -> None:
    seen = []

    def forward(model: nn.Module, inputs: Any) -> Any:
        x, t = inputs
        seen.append(t)
        return model(x, t)

    pairs = foldmon.draw_pairs((INPUTS, torch.tensor(0.5)))
    foldmon.measure(AtTime(), pairs, forward=forward)
    assert {(type(t), t.item()) for t in seen} == {(Tensor, 0.5)}
