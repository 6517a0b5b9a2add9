from __future__ import annotations

import pytest

from foldmon.journal.resuming import probes_of, take_back


@pytest.mark.parametrize(
    ("step", "left"),
    [(7, [2, 4, 6]), (6, [2, 4]), (5, [2, 4]), (4, [2]), (2, []), (0, [])],
)
def test_what_is_measured_again_goes_from_its_step_on(step, left):
    probes = [{"at": 2}, {"at": 4}, {"at": 6}]
    repeated = take_back(probes, step, lambda probe: probe["at"])
    assert [probe["at"] for probe in probes] == left
    assert repeated is (len(left) < 3)


def test_the_later_measurement_of_a_step_counts():
    records = [
        {"kind": "start"},
        {"kind": "probe", "step": 0, "n": 0},
        {"kind": "probe", "step": 5, "n": 1},
        {"kind": "probe", "step": 9, "n": 2},
        {"kind": "end"},
        {"kind": "start"},
        {"kind": "probe", "step": 5, "n": 3},
        {"kind": "probe", "step": 8, "n": 4},
    ]
    assert [probe["n"] for probe in probes_of(records)] == [0, 3, 4]


def test_records_without_kind_or_step_are_probes_in_their_order():
    assert probes_of([{"seq": 1}, {"seq": 2}, {"seq": 3, "step": None}]) == [
        {"seq": 1},
        {"seq": 2},
        {"seq": 3, "step": None},
    ]
    assert probes_of([{}, {"phi": 1}]) == [{"phi": 1}], "both stand at step 0"
