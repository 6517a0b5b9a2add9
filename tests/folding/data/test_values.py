"""What foldmon hands out is compared, hashed and indexed as the value that it is."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import foldmon
from foldmon import Coverage, FoldingReport, Pairs


def _pairs(kind: Any = "any") -> Pairs:
    rows = torch.arange(15.0).reshape(5, 3)
    return Pairs(
        {"x": rows, "mask": rows > 3}, {"x": -rows, "mask": rows < 9}, np.arange(10).reshape(5, 2), kind=kind
    )


@pytest.fixture(scope="module")
def report() -> FoldingReport:
    """Of a model that gives classes, with a layer that meets NaN, so that NaN is among its values."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3), nn.ReLU())
    first = torch.randn(6, 4)
    first[0, 0] = torch.nan
    return foldmon.measure(model, (first, torch.randn(6, 4)))


def _again(report: FoldingReport) -> list[FoldingReport]:
    return [copy.deepcopy(report), pickle.loads(pickle.dumps(report)), replace(report)]


def test_a_report_equals_its_copies_and_finds_them_in_a_set(report: FoldingReport) -> None:
    assert np.isnan(report.dead).any()
    for other in _again(report):
        assert other == report
        assert other.decision == report.decision
        assert other.coverage == report.coverage
        assert hash(other) == hash(report)
    assert {report, *_again(report)} == {report}


@pytest.mark.parametrize(
    "change", [{"step": 3}, {"classes": np.zeros((6, 2), int)}, {"decision": None}, {"units": (8, 4)}]
)
def test_reports_that_differ_in_anything_are_not_equal(report: FoldingReport, change: dict[str, Any]) -> None:
    assert replace(report, **change) != report


def test_a_single_number_that_differs_tells_reports_apart(report: FoldingReport) -> None:
    r1 = report.r1.copy()
    r1[-1, -1] += 1
    assert replace(report, r1=r1) != report
    assert replace(report, r1=report.r1.astype(float)) != report  # an estimate is no count


def test_pairs_are_equal_by_content() -> None:
    assert _pairs() == _pairs()
    assert hash(_pairs()) == hash(_pairs())
    assert _pairs() != _pairs("inter")
    assert _pairs() != Pairs(_pairs().first, _pairs().first, _pairs().classes)
    assert Pairs(_pairs().first["x"], _pairs().second["x"]) != _pairs()
    assert (_pairs() == "pairs") is False


def test_nan_equals_nan_in_tensors_and_arrays() -> None:
    ends = torch.tensor([[torch.nan, 1.0]]), torch.tensor([[2.0, torch.nan]])
    assert Pairs(*ends) == Pairs(*(end.clone() for end in ends))
    assert Pairs(*ends) != Pairs(ends[0], ends[0])
    assert Pairs(*ends) != Pairs(*(end.double() for end in ends))


def test_coverage_is_equal_whatever_mapping_holds_its_sites() -> None:
    a, b = Coverage({"1": 4, "2": 3}, {}, {"max": "max"}), Coverage({"2": 3, "1": 4}, {}, {"max": "max"})
    assert a == b
    assert hash(a) == hash(b)
    assert a != a.with_notes("something")


@pytest.mark.parametrize(
    ("places", "rows"),
    [
        (0, [0]),
        (-1, [4]),
        (np.int64(2), [2]),
        (slice(1, 3), [1, 2]),
        (slice(None, None, -2), [4, 2, 0]),
        ([3, -5, 3], [3, 0, 3]),
        (np.array([4, 1]), [4, 1]),
        (torch.tensor([4, 1]), [4, 1]),
        (torch.tensor(3), [3]),
        (np.arange(5) > 2, [3, 4]),
        (torch.arange(5) < 2, [0, 1]),
    ],
)
def test_some_of_the_pairs_are_pairs(places: Any, rows: list[int]) -> None:
    pairs, part = _pairs("inter"), _pairs("inter")[places]
    assert len(part) == len(rows)
    for end, whole in ((part.first, pairs.first), (part.second, pairs.second)):
        assert torch.equal(end["x"], whole["x"][rows])
        assert torch.equal(end["mask"], whole["mask"][rows])
    assert part.classes is not None
    assert part.classes.tolist() == [[2 * row, 2 * row + 1] for row in rows]
    assert part.kind == "inter"


def test_a_loop_over_pairs_ends() -> None:
    assert [len(pair) for pair in _pairs()] == [1] * 5


@pytest.mark.parametrize(
    ("places", "error"),
    [
        (5, "out of bounds"),
        (-6, "out of bounds"),
        ((0, 1), "too many"),
        (None, "lie in a row"),
        ("x", "only integ"),
    ],
)
def test_what_names_no_pairs_is_refused(places: Any, error: str) -> None:
    with pytest.raises(IndexError, match=error):
        _pairs()[places]


def test_no_pairs_at_all_are_refused() -> None:
    with pytest.raises(ValueError, match="the pairs are empty"):
        _pairs()[3:3]
