"""Scouting: rows that stand elsewhere, layers that come and go, values that hang on the batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import foldmon
from foldmon.folding.model.row_order import misplaced
from foldmon.folding.model.scout import NO_CLASS


class Tokens(nn.Module):
    """A linear layer on (B, 5, 8), with ``act`` applied to its tokens in some layout."""

    def __init__(self, act: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.linear, self.head, self.act = nn.Linear(8, 8), nn.Linear(8, 3), act

    def forward(self, x: Tensor) -> Any:
        return self.head(self.act(self.linear(x), x).reshape(x.shape).mean(1))


def batch_first(z: Tensor, x: Tensor) -> Tensor:
    return torch.relu(z.flatten(0, 1)).view_as(z)


def sequence_folded_in_first(z: Tensor, x: Tensor) -> Tensor:
    return torch.relu(z.transpose(0, 1).reshape(-1, 8)).view(5, -1, 8).transpose(0, 1)


def sorted_by_expert(z: Tensor, x: Tensor) -> Tensor:
    tokens = z.flatten(0, 1)
    order = torch.argsort(x.flatten(0, 1)[:, 0])
    out = torch.empty_like(tokens)
    out[order] = torch.relu(tokens[order])
    return out


def turned_by_content(z: Tensor, x: Tensor) -> Tensor:
    """Sorted, but in no way that a sort would tell."""
    tokens = z.flatten(0, 1)
    above = x.flatten(0, 1)[:, 0] > 0
    out = torch.empty_like(tokens)
    out[torch.cat([above.nonzero(), (~above).nonzero()])[:, 0]] = torch.relu(
        torch.cat([tokens[above], tokens[~above]])
    )
    return out


def ends(seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(6, 5, 8, generator=generator), torch.randn(6, 5, 8, generator=generator)


def same_weights(act: Callable[[Tensor, Tensor], Tensor]) -> Tokens:
    torch.manual_seed(0)
    return Tokens(act)


def test_tokens_sorted_by_the_model_are_put_back() -> None:
    plain = foldmon.measure(same_weights(batch_first), ends())
    routed = foldmon.measure(same_weights(sorted_by_expert), ends())
    assert plain.r2.sum() > 0
    np.testing.assert_array_equal(routed.r1, plain.r1)
    np.testing.assert_array_equal(routed.r2, plain.r2)
    assert routed.coverage.not_covered == {}
    assert routed.coverage.notes == ()


@pytest.mark.parametrize("act", [sequence_folded_in_first, turned_by_content])
def test_rows_that_are_not_in_the_order_of_the_batch_are_named_not_misread(act: Any) -> None:
    model = nn.Sequential(same_weights(act), nn.Tanh())
    report = foldmon.measure(model, ends())
    assert report.layers == ("1",)
    assert "not the inputs in the order of the batch" in report.coverage.not_covered["0/relu"]
    with pytest.raises(ValueError, match="not the inputs in the order of the batch"):
        foldmon.measure(model[0], ends())


class Routed(nn.Module):
    """Each expert sees the inputs that are sent to it, and only where there are any."""

    def __init__(self) -> None:
        super().__init__()
        self.experts = nn.ModuleList([nn.Sequential(nn.Linear(8, 8), nn.ReLU()) for _ in range(2)])
        self.head = nn.Sequential(nn.Linear(8, 4), nn.ReLU())

    def forward(self, x: Tensor) -> Any:
        first = x[:, 0] > 0
        out = torch.zeros_like(x)
        for expert, chosen in zip(self.experts, (first, ~first), strict=True):
            if chosen.any():
                out[chosen] = expert(x[chosen])
        return self.head(out)


def test_experts_that_see_some_inputs_only_are_left_out_with_the_reason() -> None:
    # The five points that are looked at first go to one expert only; the others tell later.
    a, b = torch.rand(8, 8) + 0.1, torch.rand(8, 8) + 0.1
    b[6:, 0] *= -1
    report = foldmon.measure(Routed(), (a, b))
    assert report.layers == ("head.1",)
    assert "experts.0.1" in report.coverage.not_covered
    assert not any("in part" in note for note in report.notes)
    alone = foldmon.measure(Routed(), (a, b), chunk=1)
    assert alone.layers == ("head.1",)
    assert alone.coverage.not_covered["experts.0.1"] == "it does not run in every pass"


def test_asking_for_a_layer_that_cannot_be_measured_says_why() -> None:
    model = nn.Sequential(same_weights(sequence_folded_in_first), nn.Tanh())
    with pytest.raises(ValueError, match="'0/relu' cannot be measured: its rows"):
        foldmon.measure(model, ends(), layers=["1", "0/relu"])


def test_nothing_left_after_leaving_out_says_why() -> None:
    model = Routed()
    model.head = nn.Identity()
    with pytest.raises(ValueError, match=r"experts\.0\.1.*: (it|no dimension)"):
        foldmon.measure(model, (torch.randn(8, 8), torch.randn(8, 8)))


@pytest.mark.parametrize("method", ["sampled", "auto"])
def test_a_layer_that_runs_for_large_batches_only(method: Any) -> None:
    class Fleeting(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.tanh(x).relu() if len(x) > 2 else torch.tanh(x)

    report = foldmon.measure(Fleeting(), (torch.randn(3, 8), torch.randn(3, 8)), method=method, chunk=2)
    assert report.layers == ("/tanh",)
    assert report.coverage.not_covered["/relu"] == "it does not run in every pass"


def test_values_that_depend_on_the_rest_of_the_batch_are_noted_once() -> None:
    norm = nn.BatchNorm1d(8, track_running_stats=False)
    model = nn.Sequential(nn.Linear(8, 8), norm, nn.ReLU(), nn.Linear(8, 5), nn.Tanh())
    report = foldmon.measure(model, (torch.randn(6, 8), torch.randn(6, 8)))
    assert report.layers == ("2", "4")
    noted = [note for note in report.notes if "another batch" in note]
    assert len(noted) == 1
    assert noted[0].startswith("2 takes other values")
    norm.track_running_stats, norm.running_mean, norm.running_var = True, torch.zeros(8), torch.ones(8)
    assert foldmon.measure(model, (torch.randn(6, 8), torch.randn(6, 8))).notes == ()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_rounding_is_not_taken_for_another_batch(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    layers = [layer for _ in range(8) for layer in (nn.Linear(32, 32), nn.LayerNorm(32), nn.GELU())]
    model = nn.Sequential(*layers).to(dtype)
    report = foldmon.measure(model, (torch.randn(9, 32), torch.randn(9, 32)), points=5)
    assert len(report.layers) == 8
    assert [note for note in report.notes if not note.startswith(NO_CLASS)] == []


def test_activations_of_weights_alone_are_named_without_a_false_note() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.zeros(8))

        def forward(self, x: Tensor) -> Tensor:
            return torch.relu(x) * torch.sigmoid(self.scale)

    report = foldmon.measure(Scaled(), (torch.randn(3, 8), torch.randn(3, 8)))
    assert "the same for a smaller batch" in report.coverage.not_covered["/sigmoid"]
    assert [note for note in report.notes if not note.startswith(NO_CLASS)] == []


def test_rows_of_equal_values_are_in_place() -> None:
    rows = np.ones((5, 2, 3), dtype=np.float32)
    assert misplaced(rows, rows[[4, 2, 0]], (4, 2, 0), 1e-7) is None
    rows[0, 0, 0] = np.nan
    assert misplaced(rows, rows[[4, 2, 0]], (4, 2, 0), 1e-7) is None


def doubled(z: Tensor) -> Tensor:
    both = torch.cat([z, z.flip(1)])
    return torch.relu(both @ both.T)[: len(z)]


@pytest.mark.parametrize(
    "similarity", [lambda z: torch.relu(z @ z.T), doubled, lambda z: F.gelu(torch.cdist(z, z))]
)
def test_what_compares_all_inputs_of_a_batch_is_left_out(similarity: Callable[[Tensor], Tensor]) -> None:
    class Compared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Linear(8, 16), nn.ReLU())

        def forward(self, x: Tensor) -> Tensor:
            return similarity(self.body(x))

    report = foldmon.measure(Compared(), (torch.randn(9, 8), torch.randn(9, 8)))
    assert report.layers == ("body.1",)
    (reason,) = report.coverage.not_covered.values()
    assert "as many values an input as the batch has inputs" in reason
