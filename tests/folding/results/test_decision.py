"""Decision folding against a loop over points, and what of an output is read as its class."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch import nn

import foldmon
from foldmon.folding.results.decision import decision_folding
from foldmon.folding.results.heads import Head, head_of
from foldmon.folding.results.targets import Targets

classes = hnp.arrays(np.int64, st.tuples(st.integers(1, 4), st.integers(2, 9)), elements=st.integers(0, 3))


def by_loop(path: list[int]) -> tuple[int, float]:
    """(changes, share elsewhere); every point stands for half of the steps on either side of it."""
    changes, elsewhere = 0, 0.0
    step = 1 / (len(path) - 1)
    for i, value in enumerate(path):
        if i and value != path[i - 1]:
            changes += 1
        if value not in (path[0], path[-1]):
            elsewhere += step / 2 if i in (0, len(path) - 1) else step
    return changes, elsewhere


@settings(max_examples=50, deadline=None)
@given(classes)
def test_equals_a_loop(paths: np.ndarray) -> None:
    folding = decision_folding(paths)
    for row, path in enumerate(paths.tolist()):
        changes, elsewhere = by_loop(path)
        assert folding.changes[row] == changes
        assert folding.elsewhere[row] == pytest.approx(elsewhere)
        assert folding.ends[row].tolist() == [path[0], path[-1]]


@pytest.mark.parametrize("chunk", [None, 4])
def test_of_a_model_equals_a_loop_over_its_outputs(chunk: int | None) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 12), nn.ReLU(), nn.Linear(12, 5)).double()
    a, b = 4 * torch.randn(6, 3).double(), 4 * torch.randn(6, 3).double()
    decision = foldmon.measure(model, (a, b), points=21, chunk=chunk).decision
    assert decision is not None
    assert decision.changes.sum() > 0
    for row in range(6):
        with torch.no_grad():
            outputs = [model(torch.lerp(a[row], b[row], i / 20)).argmax().item() for i in range(21)]
        changes, elsewhere = by_loop([int(value) for value in outputs])
        assert decision.changes[row] == changes
        assert decision.elsewhere[row] == pytest.approx(elsewhere)


LOGITS = torch.tensor([[0.0, 3.0, 1.0], [5.0, 1.0, 2.0]])


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (LOGITS, [1, 0]),
        ((LOGITS, None), [1, 0]),
        ({"logits": LOGITS, "hidden": None}, [1, 0]),
        (SimpleNamespace(logits=LOGITS), [1, 0]),
        (SimpleNamespace(logits=LOGITS[:, None].repeat(1, 4, 1)), [1, 0]),
        (torch.tensor([[-1.0], [2.0]]), [0, 1]),
        (torch.tensor([-1.0, 2.0]), [0, 1]),
    ],
)
def test_outputs_that_give_a_class(output: Any, expected: list[int]) -> None:
    targets = Targets.of(torch.arange(20) % 2)
    head = head_of(output, 2, targets=targets)
    assert isinstance(head, Head)
    assert head.predicted(head.logits(output, 2)).tolist() == expected


@pytest.mark.parametrize(
    "output",
    [
        None,
        {},
        LOGITS.long(),
        LOGITS[:1],
        LOGITS[:, :, None, None],
        {"hidden": LOGITS, "more": LOGITS},
        "text",
    ],
)
def test_outputs_that_give_none(output: Any) -> None:
    assert isinstance(head_of(output, 2, classes=True), str)


def test_a_model_without_classes_has_no_decision_folding_and_says_so() -> None:
    model = nn.Sequential(nn.Conv1d(1, 2, 1), nn.ReLU())
    report = foldmon.measure(model, (torch.zeros(2, 1, 4), torch.ones(2, 1, 4)))
    assert report.decision is None
    assert any("no decision folding" in note for note in report.notes)
    assert report.to_dict()["decision"] is None
