"""What the lines run through: numbers, bytes, complex values, tokens, and what only some models embed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import foldmon
from foldmon.folding.model import embedded
from foldmon.folding.model.lines import between
from foldmon.folding.model.prober import Prober
from foldmon.folding.sampled.report import measure_sampled


class Pixels(nn.Module):
    """Takes bytes and scales them itself, as many image models do."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))

    def forward(self, x: Tensor) -> Any:
        return self.body(x.float() / 255)


def test_bytes_are_joined_as_numbers() -> None:
    torch.manual_seed(0)
    model = Pixels()
    a, b = (torch.randint(0, 256, (4, 3, 8, 8), dtype=torch.uint8) for _ in "ab")
    as_bytes, as_floats = foldmon.measure(model, (a, b)), foldmon.measure(model, (a.float(), b.float()))
    assert as_bytes.r2.sum() > 0
    np.testing.assert_array_equal(as_bytes.r1, as_floats.r1)
    np.testing.assert_array_equal(as_bytes.r2, as_floats.r2)


def test_bytes_that_are_embedded_are_tokens() -> None:
    class Bytes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(256, 4)

        def forward(self, x: Tensor) -> Tensor:
            return torch.relu(self.embed(x.long()))

    a, b = (torch.randint(0, 256, (4, 5), dtype=torch.uint8) for _ in "ab")
    model = Bytes()
    np.testing.assert_array_equal(
        foldmon.measure(model, (a, b)).r2, foldmon.measure(model, (a.long(), b.long())).r2
    )


def test_complex_inputs_are_joined() -> None:
    class Spectrum(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.relu(x.real) + torch.relu(x.imag)

    a, b = (torch.randn(4, 6, dtype=torch.cfloat) for _ in "ab")
    report = foldmon.measure(Spectrum(), (a, b))
    apart = torch.stack([(a.real > 0) != (b.real > 0), (a.imag > 0) != (b.imag > 0)]).sum(-1).T
    np.testing.assert_array_equal(report.r2, apart.numpy())


class WithLengths(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 6)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        inside = torch.arange(x.shape[1]) < lengths[:, None]
        return torch.relu(self.linear(x) * inside[..., None]).sum(1)


def test_lengths_beside_numbers_stay_the_starts_with_a_note() -> None:
    torch.manual_seed(0)
    model, x1, x2 = WithLengths(), torch.randn(3, 5, 4), torch.randn(3, 5, 4)
    lengths = torch.tensor([2, 3, 4])
    report = foldmon.measure(model, ((x1, lengths), (x2, torch.tensor([5, 5, 5]))))
    same = foldmon.measure(model, ((x1, lengths), (x2, lengths)))
    np.testing.assert_array_equal(report.r2, same.r2)
    assert same.notes == ()
    assert any("those of its start hold along the whole path" in note for note in report.notes)
    assert report.notes == report.coverage.notes


@pytest.mark.parametrize(
    ("inputs", "text"),
    [
        (torch.nested.nested_tensor([torch.randn(2, 4), torch.randn(3, 4)], layout=torch.jagged), "pad"),
        (torch.eye(4).to_sparse(), "to_dense"),
    ],
)
def test_inputs_that_no_line_joins(inputs: Tensor, text: str) -> None:
    with pytest.raises(TypeError, match=text):
        foldmon.measure(nn.ReLU(), (inputs, inputs))


def test_what_is_common_to_all_inputs_belongs_into_forward() -> None:
    x, common = torch.randn(3, 4), torch.zeros(9, 4)
    with pytest.raises(ValueError, match="forward=lambda"):
        foldmon.measure(nn.ReLU(), ((x, common), (x, common)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("shape", [(), (3,), (2, 3)])
def test_a_grid_holds_the_paths_at_the_first_t_then_at_the_second(
    dtype: torch.dtype, shape: tuple[int, ...]
) -> None:
    first, second = torch.randn(2, 6, *shape).to(dtype)
    paths, t = torch.arange(2, 6), torch.linspace(0, 1, 7, dtype=torch.float64)
    grid = between(first, second, paths[None], t[:, None])
    assert grid.dtype == dtype
    assert torch.equal(grid, between(first, second, paths.repeat(7), t.repeat_interleave(4)))
    assert torch.equal(grid[:4], first[2:])
    assert torch.equal(grid[-4:], second[2:])


class Recorded(nn.Embedding):
    """Counts the rows that are embedded in each pass."""

    def __init__(self) -> None:
        super().__init__(9, 4)
        self.rows: list[int] = []

    def forward(self, ids: Tensor) -> Tensor:
        self.rows.append(len(ids))
        return super().forward(ids)


def embedding_model() -> tuple[nn.Sequential, Recorded]:
    torch.manual_seed(0)
    embed = Recorded()
    return nn.Sequential(embed, nn.Flatten(), nn.Linear(12, 16), nn.Tanh(), nn.Linear(16, 2)).eval(), embed


def test_only_walked_paths_are_embedded() -> None:
    model, embed = embedding_model()
    prober = Prober(model, foldmon.Pairs(*torch.randint(9, (2, 40, 3))))
    whole = measure_sampled(prober, 5)
    embed.rows.clear()
    share = measure_sampled(prober, 5, paths=np.array([7, 31]))
    assert embed.rows == [2 * 2, 2 * 5]
    np.testing.assert_array_equal(share.r2, whole.r2[[7, 31]])


@pytest.mark.parametrize("method", ["sampled", "exact", "auto"])
def test_without_room_for_the_ends_of_all_paths_the_numbers_are_the_same(
    method: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, embed = embedding_model()
    ends = torch.randint(9, (2, 12, 3))
    roomy = foldmon.measure(model, (ends[0], ends[1]), method=method, chunk=7)
    passes = len(embed.rows)
    monkeypatch.setattr(embedded, "_KEPT_BYTES", 5 * 2 * 12 * 4)
    tight = foldmon.measure(model, (ends[0], ends[1]), method=method, chunk=7)
    np.testing.assert_array_equal(tight.r1, roomy.r1)
    np.testing.assert_array_equal(tight.r2, roomy.r2)
    assert len(embed.rows) - passes >= passes
