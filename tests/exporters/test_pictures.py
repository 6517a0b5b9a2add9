from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from foldmon.exporters.pictures import (
    DEPTH_BY_TIME,
    Pictures,
    depth_by_time_png,
    heat_map_png,
)
from tests.exporters.examples import probe


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def test_more_is_lighter_and_nan_is_grey():
    shown = pixels(heat_map_png([[*np.linspace(0, 1, 32), np.nan]]))
    cells = shown[0, :: shown.shape[1] // 33]
    assert (np.diff(cells[:32] @ [0.2126, 0.7152, 0.0722]) > 0).all()
    assert cells[32].tolist() == [150, 150, 150]


def test_the_highest_value_is_the_end_of_the_scale_however_small():
    small, large = (pixels(heat_map_png(np.array([[0.0, 0.5, 1.0]]) * top)) for top in (0.002, 300.0))
    assert np.array_equal(small, large)
    assert len(np.unique(small[0], axis=0)) == 3


def test_cells_are_whole_blocks_and_large_matrices_stay_as_they_are():
    shown = pixels(heat_map_png(np.eye(3)))
    assert shown.shape == (321, 321, 3)
    assert (shown[:107, :107] == shown[0, 0]).all()
    assert pixels(heat_map_png(np.zeros((1000, 2)))).shape[0] == 1000


@pytest.mark.parametrize("values", [[], [1.0], np.zeros((0, 3))])
def test_what_is_no_matrix_is_refused(values):
    with pytest.raises(ValueError, match="shape"):
        heat_map_png(values)


def test_time_runs_right_and_depth_up():
    shown = pixels(depth_by_time_png([0, 1], [[0.0, 1.0], [0.0]]))
    top_left, top_right, bottom = shown[0, 0], shown[0, -1], shown[-1, 0]
    assert top_left.sum() > bottom.sum()
    assert top_right.tolist() == [150, 150, 150]


def test_a_column_is_as_wide_as_its_steps_and_a_high_beginning_is_cut_off():
    shown = pixels(depth_by_time_png([0, 1, 2, 50, 99], [[9.0], [5.0], [0.5], [1.0], [0.5]]))[0]
    light, half = shown[0].tolist(), shown[10 * shown.shape[0] // 100].tolist()
    assert len(shown) == 400
    assert shown[:8].tolist() == [light] * 8
    assert shown[8:200].tolist() == [half] * 192
    assert shown[200:396].tolist() == [light] * 196
    assert shown[396:].tolist() == [half] * 4


def test_a_resumed_run_replaces_what_it_measures_again():
    pictures, fresh = Pictures(), Pictures()
    for seq, step in enumerate((0, 50, 90, 20)):
        last = pictures.of(probe(step, phi=0.01 * seq) | {"seq": seq + 5})
    for seq, step in ((5, 0), (8, 20)):
        again = fresh.of(probe(step, phi=0.01 * (seq - 5)) | {"seq": seq})
    assert last == again
    assert DEPTH_BY_TIME in last


def test_pictures_double_and_a_long_run_stays_bounded():
    pictures = Pictures()
    due = [step for step in range(3000) if pictures.of(probe(step))]
    assert due == [2**power - 1 for power in range(12)]
    assert len(pictures._profiles) <= 200


def test_repeated_records_give_the_same_picture():
    pictures = Pictures()
    records = [probe(step, phi=0.01 * step) for step in range(10)]
    first = [pictures.of(record) for record in records]
    assert [pictures.of(record) for record in records] == first
    assert DEPTH_BY_TIME in first[7]
