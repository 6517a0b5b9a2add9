"""Counts of single units equal those of plain loops over their values."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from foldmon.folding.symbols.activations import Reading
from foldmon.folding.symbols.units import UnitCounts


def mark(counts: UnitCounts, place: int, values: torch.Tensor, cuts: tuple[float, ...], device: bool) -> None:
    """As on the CPU, or from the planes of a device."""
    if device:
        counts.mark(place, torch.stack([values > cut for cut in cuts]))
    else:
        counts.add(place, Reading(values, cuts))


@pytest.mark.parametrize("device", [False, True])
@pytest.mark.parametrize("units", [1, 3, 8, 24, 32, 64, 100, 512, 8200])
@pytest.mark.parametrize("rows", [1, 2, 15, 16, 17, 129])
def test_dead_and_saturated_shares_over_several_passes(units: int, rows: int, device: bool) -> None:
    torch.manual_seed(units + rows)
    level = torch.randn(units) * 3  # some units are always on, some never
    parts = [torch.randn(rows, units) + level for _ in range(3)]
    names, sizes = ["before", "site"], [5, units]
    counts, elsewhere = UnitCounts(names, sizes), UnitCounts(names, sizes)
    for part in parts[:2]:
        mark(counts, 1, part, (-1.0, 1.0), device)
    mark(elsewhere, 1, parts[2], (-1.0, 1.0), device)
    mark(elsewhere, 0, torch.ones(2, 5), (0.0,), device)
    united = UnitCounts(names, sizes)
    united.marks = counts.marks | elsewhere.marks  # as processes do
    counts.absorb(elsewhere)
    values = torch.cat(parts)
    for found in (counts, united):
        np.testing.assert_allclose(found.dead, [0.0, (values <= -1).all(0).double().mean()])
        np.testing.assert_allclose(found.saturated, [1.0, (values > 1).all(0).double().mean()])


def test_a_site_that_no_process_met_has_no_shares() -> None:
    counts = UnitCounts(["met", "not met"], [5, 5])
    counts.add(0, Reading(-torch.ones(2, 5), (0.0,)))
    united = UnitCounts(["met", "not met"], [5, 5])
    united.marks = counts.marks
    np.testing.assert_array_equal(united.dead, [1.0, np.nan])
