"""Labels are kept as they came, one an input; classes are numbers, truth values or names."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from foldmon.folding.data.drawing import draw_panel
from foldmon.folding.data.labels import HeldOut, joined_labels, to_labels

INPUTS = torch.arange(40.0).reshape(40, 1).repeat(1, 3)  # input i is (i, i, i)


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (torch.tensor([2, 0, 1]), [2, 0, 1]),
        (torch.tensor([[2], [0], [1]]), [2, 0, 1]),
        ([2, 0, 1], [2, 0, 1]),
        (np.array([True, False, True]), [True, False, True]),
        (torch.tensor([1.0, 0.0, 1.0]), [1, 0, 1]),
        (torch.tensor([1.0, 0.0, 1.0], dtype=torch.bfloat16), [1, 0, 1]),
        (["a", "b", "a"], ["a", "b", "a"]),
        (np.array(["a", "b", "a"], dtype=object), ["a", "b", "a"]),
        (torch.tensor([0.5, 2.0, 1.0]), None),
        (torch.zeros(3, 5), None),
        (torch.zeros(3, 4, 4, dtype=torch.int64), None),
        ({"a": torch.zeros(3), "b": torch.zeros(3, 2)}, None),
        ((torch.zeros(3), torch.zeros(3, 2)), None),
        ([{"boxes": 1}, {"boxes": 2}, {}], None),
        (None, None),
    ],
)
def test_labels_of_every_kind_and_the_classes_among_them(labels: Any, classes: list[Any] | None) -> None:
    held_out = HeldOut(torch.zeros(3, 2), to_labels(labels, 3))
    assert (None if held_out.classes is None else held_out.classes.tolist()) == classes
    if labels is None:
        assert held_out.labels is None
        return
    turned = held_out[np.array([2, 0])]
    assert len(turned) == 2
    if classes is not None:
        assert turned.classes is not None
        assert turned.classes.tolist() == [classes[2], classes[0]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("through", ["arrays", "loader"])
def test_targets_that_are_no_classes_stay_with_their_inputs(dtype: torch.dtype, through: str) -> None:
    targets = torch.stack([INPUTS[:, 0] / 7, INPUTS[:, 0] ** 2], 1).to(dtype)
    data: Any = (INPUTS, targets)
    if through == "loader":
        data = DataLoader(TensorDataset(*data), 8, shuffle=True)
    _, held_out = draw_panel(data)
    assert torch.equal(held_out.labels, targets[held_out.inputs[:, 0].long()])
    assert held_out.classes is None


def test_labels_of_tokens_and_dicts_of_targets_are_batch_first() -> None:
    tokens = torch.full((40, 3), -100)
    rows = [{"x": INPUTS[i], "labels": {"box": INPUTS[i, :2], "kind": i % 2}} for i in range(40)]
    assert to_labels(tokens, 40) is tokens
    _, held_out = draw_panel(DataLoader(rows, 8))  # type: ignore[arg-type]
    assert torch.equal(held_out.labels["box"], held_out.inputs["x"][:, :2])
    assert torch.equal(held_out.labels["kind"], held_out.inputs["x"][:, 0].long() % 2)


def test_labels_of_batches_are_joined_where_they_can_be() -> None:
    two, three = torch.zeros(2, 4), torch.zeros(3, 4)
    assert joined_labels([two, three]).shape == (5, 4)
    assert joined_labels([{"a": two}, {"a": three}])["a"].shape == (5, 4)
    assert joined_labels([np.array(["a"]), np.array(["bcd"])]).tolist() == ["a", "bcd"]
    assert joined_labels([two, torch.zeros(3, 5)]) is None
    assert joined_labels([two, None]) is None


@pytest.mark.parametrize("labels", [torch.zeros(4), torch.tensor(1), [1, 2], np.array(["a"])])
def test_numbers_and_names_that_are_not_one_an_input(labels: Any) -> None:
    with pytest.raises(ValueError, match="one label an input"):
        to_labels(labels, 3)
