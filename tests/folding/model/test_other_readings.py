"""Held-out data as training loops unpack them: entries left out, labels beside others, objects."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset, random_split

import foldmon
from tests.folding.model.test_calling import INPUTS, LABELS, Net

NUMBERS = range(60)


class DataModule:
    """As Lightning has them."""

    def train_dataloader(self) -> DataLoader[Any]:
        return DataLoader(TensorDataset(INPUTS), 20, shuffle=True)

    def val_dataloader(self) -> list[DataLoader[Any]]:
        random_split(TensorDataset(INPUTS), [30, 30])  # draws
        return [DataLoader(LABELLED, 20)]


LABELLED = TensorDataset(INPUTS, LABELS)


def loader(*columns: Any) -> DataLoader[Any]:
    """Of items that are tuples."""
    return DataLoader(list(zip(*columns, strict=True)), 20)  # type: ignore[arg-type]


def named(**columns: Any) -> DataLoader[Any]:
    """Of items that are dicts."""
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return DataLoader(rows, 20)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Batch:
    x: Tensor
    target: Tensor
    paths: list[str]


class Columns:
    """As text libraries have them: an attribute for each column."""

    def __init__(self, rows: list[Any]) -> None:
        self.text = torch.stack([x for x, _ in rows])
        self.label = torch.tensor([int(y) for _, y in rows])


def batch(rows: list[Any]) -> Batch:
    columns = Columns(rows)
    return Batch(columns.text, columns.label, ["a.png"] * len(rows))


def batches(make: Callable[[list[Any]], Any]) -> list[Any]:
    rows = list(zip(INPUTS, LABELS, strict=True))
    return [make(rows[first : first + 20]) for first in (0, 20, 40)]


class OneBatch(Net):
    def forward(self, batch: Batch) -> Tensor:  # type: ignore[override]
        return super().forward(batch.x)


class WithoutForward(nn.Module):
    """Trained by methods of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.loss = Net(), nn.CrossEntropyLoss()

    def training_step(self, x: Tensor, y: Tensor) -> Tensor:
        loss: Tensor = self.loss(self.net(x), y)
        return loss


@pytest.mark.parametrize(
    ("data", "origin", "note"),
    [
        (named(image=INPUTS, label=LABELS, path=["a"] * 60, index=NUMBERS), "label", "image"),
        (named(__key__=["a"] * 60, jpg=INPUTS, cls=LABELS), "cls", "jpg"),
        (named(frame=INPUTS, target=LABELS, weight=[1.0] * 60), "target", "frame"),
        (loader(NUMBERS, INPUTS, LABELS), "element 3 of 3", ""),
        (loader(list(zip(INPUTS, INPUTS[:, :2], strict=True)), LABELS), "the second element", ""),
        (loader(INPUTS, INPUTS[:, :2], LABELS), "element 3 of 3", ""),
        (loader(INPUTS, [{"label": i % 3, "id": i} for i in NUMBERS]), "the second element", ""),
        (loader(INPUTS, [{"y": i % 3, "path": "a.png"} for i in NUMBERS]), "the second element", ""),
        ((LABELS, INPUTS), "the first element", ""),
        (DataLoader(LABELLED, 20, collate_fn=batch), "target", "x"),
        (batches(batch), "target", "x"),
        (DataLoader(LABELLED, 20, collate_fn=Columns), "label", "text"),
        (batches(Columns), "label", "text"),
        ({"train": TensorDataset(INPUTS), "validation": LABELLED}, "the second element", ""),
        ({"train": loader(INPUTS), "held out": loader(INPUTS, LABELS)}, "the second element", ""),
        (DataModule(), "the second element", ""),
    ],
)  # fmt: skip
def test_the_input_and_its_label_are_found_among_others(data: Any, origin: str, note: str) -> None:
    model = Net()
    before = torch.get_rng_state()
    with foldmon.watch(model, data, every=1, exporters=[], background=False) as monitor:
        held_out = monitor.probe().held_out
    assert torch.equal(torch.get_rng_state(), before)
    assert held_out is not None
    assert held_out.accuracy is not None
    (understood,) = (n for n in monitor.coverage.notes if n.startswith("inputs: "))
    assert "float32 (60, 8)" in understood
    assert understood.endswith(f"labels: 3 classes from {origin}")
    assert not note or note == "x" or f"{note} is passed by itself" in monitor.coverage.notes


@pytest.mark.parametrize("data", [DataLoader(LABELLED, 20, collate_fn=batch), batches(batch)])
def test_a_model_that_takes_the_users_object_is_given_one(data: Any) -> None:
    model, plain = OneBatch(), Net()
    plain.load_state_dict(model.state_dict())
    with foldmon.watch(model, data, exporters=[], background=False) as monitor:
        held_out = monitor.probe().held_out
    with foldmon.watch(plain, (INPUTS, LABELS), exporters=[], background=False) as monitor:
        expected = monitor.probe().held_out
    assert held_out is not None
    assert expected is not None
    assert held_out.loss == pytest.approx(expected.loss)


def test_a_module_without_a_forward_pass_is_looked_into() -> None:
    model = WithoutForward()
    with foldmon.watch(model, (INPUTS, LABELS), exporters=[], background=False) as monitor:
        monitor.probe()
    assert "the module has no forward pass: its net is called" in monitor.coverage.notes


def test_of_two_modules_without_a_forward_pass_none_is_guessed() -> None:
    model = WithoutForward()
    model.head = nn.Linear(3, 3)
    with pytest.raises(RuntimeError, match=r"could not be called with .*\n.*forward="):
        foldmon.watch(model, (INPUTS, LABELS), exporters=[])


def test_a_label_that_the_model_needs_stays_one() -> None:
    class Margins(Net):
        def forward(self, x: Tensor, label: Tensor) -> Tensor:  # type: ignore[override]
            return super().forward(x) - 0.1 * nn.functional.one_hot(label, 3)

    model = Margins()
    for data in ((INPUTS, LABELS), named(x=INPUTS, label=LABELS)):
        with foldmon.watch(model, data, exporters=[], background=False) as monitor:
            held_out = monitor.probe().held_out
        assert held_out is not None
        assert held_out.accuracy is not None


def test_positions_first_is_said_where_labels_show_it() -> None:
    with pytest.raises(ValueError, match=r"10 held-out inputs but 60 labels.*x.transpose\(0, 1\)"):
        foldmon.watch(Net(), (torch.randn(10, 60, 8), LABELS), exporters=[])


class Learner:
    def __init__(self) -> None:
        self.model, self.rate = Net(), 0.1


@pytest.mark.parametrize(
    ("thing", "advice"),
    [
        (Learner(), r"got Learner: pass the module that it holds \(\.model\)"),
        ([Net(), Net()], "got a list: watch each module in it"),
        ({"generator": Net()}, "got a dict: watch each module in it"),
        (Net, "got the class Net: pass an instance"),
        (3, "got int$"),
    ],
)
def test_what_is_no_model_says_where_there_is_one(thing: Any, advice: str) -> None:
    with pytest.raises(TypeError, match=advice):
        foldmon.watch(thing, (INPUTS, LABELS), exporters=[])
