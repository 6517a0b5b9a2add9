"""Counts of single units equal those of plain loops over their values."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from foldmon.folding.symbols.activations import Reading
from foldmon.folding.symbols.units import UnitCounts


@pytest.mark.parametrize("units", [1, 3, 8, 24, 32, 64, 100, 512, 8200])
@pytest.mark.parametrize("rows", [1, 2, 15, 16, 17, 129])
def test_dead_and_saturated_shares_over_several_passes(units: int, rows: int) -> None:
    torch.manual_seed(units + rows)
    level = torch.randn(units) * 3  # some units are always on, some never
    parts = [torch.randn(rows, units) + level for _ in range(3)]
    names, sizes = ["before", "site"], [5, units]
    counts, elsewhere = UnitCounts(names, sizes), UnitCounts(names, sizes)
    for part in parts[:2]:
        counts.add(1, Reading(part, (-1.0, 1.0)))
    elsewhere.add(1, Reading(parts[2], (-1.0, 1.0)))
    elsewhere.add(0, Reading(torch.ones(2, 5), (0.0,)))
    counts.absorb(elsewhere)
    values = torch.cat(parts)
    np.testing.assert_allclose(counts.dead, [0.0, (values <= -1).all(0).double().mean()])
    np.testing.assert_allclose(counts.saturated, [1.0, (values > 1).all(0).double().mean()])
