import json

import pytest

from foldmon.journal.following import Tail, read_at
from foldmon.views.run.undrawn import UNDRAWN


def _lines(*steps):
    return "".join(json.dumps({"kind": "probe", "step": step}) + "\n" for step in steps)


def _steps(lines):
    return [line.record["step"] for line in lines]


def test_a_tail_gives_each_record_once_and_keeps_a_torn_line_for_later(tmp_path):
    path = tmp_path / "journal.jsonl"
    path.write_text(_lines(1, 2) + '{"kind": "pro')
    tail = Tail(path)
    assert _steps(tail.read()) == [1, 2]
    assert tail.read() == []
    with path.open("a") as file:
        file.write('be", "step": 3}\n' + _lines(4))
    assert _steps(tail.read()) == [3, 4]
    assert tail.unreadable == 0


def test_a_line_that_is_no_record_is_counted_and_the_rest_read(tmp_path):
    path = tmp_path / "journal.jsonl"
    path.write_text(_lines(1) + '{"kind": "pro\n[1, 2]\n\n' + _lines(2))
    tail = Tail(path)
    assert _steps(tail.read()) == [1, 2]
    assert tail.unreadable == 2
    assert tail.first_unreadable == len(_lines(1))


def test_a_replaced_journal_is_read_from_its_beginning(tmp_path):
    path = tmp_path / "journal.jsonl"
    path.write_text(_lines(1, 2, 3))
    tail = Tail(path)
    tail.read()
    path.write_text(_lines(7))
    assert _steps(tail.read()) == [7]
    assert tail.restarts == 1


def test_records_are_found_again_at_their_offsets(tmp_path):
    path = tmp_path / "journal.jsonl"
    path.write_text(_lines(1, 22, 333))
    for record, offset in Tail(path).read():
        assert read_at(path, offset) == record


def test_reading_for_a_limited_time_says_that_there_is_more(tmp_path, monkeypatch):
    monkeypatch.setattr("foldmon.journal.following._CHUNK", 64)
    path = tmp_path / "journal.jsonl"
    path.write_text(_lines(*range(50)))
    tail = Tail(path)
    steps = []
    for _ in range(200):
        steps += _steps(tail.read(seconds=0))
        if tail.complete:
            break
    assert tail.complete
    assert steps == list(range(50))


def test_a_missing_journal_raises(tmp_path):
    with pytest.raises(FileNotFoundError):
        Tail(tmp_path / "none.jsonl").read()


def test_what_is_left_out_is_not_parsed_and_text_stays_text(tmp_path):
    path = tmp_path / "journal.jsonl"
    record = {"kind": "probe", "r1": [1.0, 2.0], "layers": ['"r1": [3]'], "step": 4}
    path.write_text(json.dumps(record) + "\n" + json.dumps(record, separators=(",", ":")) + "\n")
    lines = Tail(path, leave_out=UNDRAWN).read()
    for line in lines:
        assert "r1" not in line.record
        assert line.record["layers"] == record["layers"]
        assert read_at(path, line.offset) == record
    assert len(lines) == 2
