"""Points of lines: all paths at every t are the rows one would ask for singly."""

from __future__ import annotations

import pytest
import torch

from foldmon.measure.lines import between


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
