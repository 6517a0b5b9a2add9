from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time

import pytest

from foldmon.journal.following import Tail, read_journal
from foldmon.journal.writing import JSONLExporter
from tests.exporters.examples import probe, start


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 16 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(folder)]
    if os.name != "posix" or os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("mounting a small disk takes root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder) -> None:
    with open(folder / "filler", "wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 1024)


def seqs(path) -> list[int]:
    return [record["seq"] for record in read_journal(path)]


def own_numbers(step: int) -> dict:
    """A record as a monitor hands it over: the journal numbers it."""
    return {key: value for key, value in probe(step).items() if key not in ("seq", "time_ms")}


def test_every_record_is_one_line_with_a_number_and_a_time(tmp_path):
    journal = JSONLExporter(tmp_path / "deep" / "journal.jsonl")
    journal.write([{"kind": "start"}, own_numbers(0)])
    journal.write([own_numbers(10)])
    lines = (tmp_path / "deep" / "journal.jsonl").read_text().splitlines()
    assert [json.loads(line)["seq"] for line in lines] == [0, 1, 2]
    assert all(json.loads(line)["time_ms"] > 1_600_000_000_000 for line in lines)
    journal.close()


def test_a_line_is_there_before_write_returns(tmp_path):
    journal = JSONLExporter(tmp_path / "journal.jsonl")
    journal.write([own_numbers(0)])
    assert [record["step"] for record in read_journal(journal.path)] == [0]
    journal.close()


def test_a_line_is_compact_and_its_time_is_now(tmp_path):
    journal = JSONLExporter(tmp_path / "journal.jsonl")
    began = time.time()
    journal.write([own_numbers(0)])
    journal.close()
    journal.write([own_numbers(1)])  # opens it again
    journal.close()
    lines = journal.path.read_text().splitlines()
    assert len(lines) == 2
    for line in lines:
        assert ": " not in line
        assert ", " not in line
        assert began - 1 <= json.loads(line)["time_ms"] / 1000 <= time.time() + 1


def test_a_whole_journal_is_continued_without_a_gap(tmp_path):
    path = tmp_path / "journal.jsonl"
    for step in range(3):
        journal = JSONLExporter(path)
        journal.write([own_numbers(step)])
        journal.close()
    assert len(path.read_text().split("\n")) == 4, "three lines and the end of the last"


def test_of_too_many_that_wait_the_oldest_go(tmp_path, monkeypatch):
    monkeypatch.setattr("foldmon.journal.writing._WAITING_MOST", 3)
    (tmp_path / "run").touch()
    journal = JSONLExporter(tmp_path / "run" / "journal.jsonl")
    for step in range(5):
        with pytest.raises(OSError, match="run"):
            journal.write([own_numbers(step)])
        assert journal.waiting == min(step + 1, 3)
    (tmp_path / "run").unlink()
    journal.flush()
    assert [record["step"] for record in read_journal(journal.path)] == [2, 3, 4]
    journal.close()


def test_another_process_continues_the_numbers(tmp_path):
    for _ in range(3):
        journal = JSONLExporter(tmp_path / "journal.jsonl")
        journal.write([own_numbers(0), own_numbers(1)])
        journal.close()
    assert seqs(tmp_path / "journal.jsonl") == list(range(6))


def test_a_torn_line_costs_that_line_only(tmp_path):
    path = tmp_path / "journal.jsonl"
    journal = JSONLExporter(path)
    journal.write([own_numbers(0), own_numbers(1)])
    journal.close()
    whole = path.read_bytes()
    for cut in range(1, len(whole) - whole.index(b"\n")):
        path.write_bytes(whole[:-cut])
        again = JSONLExporter(path)
        again.write([own_numbers(2)])
        again.close()
        # Without its line end alone, the line is whole all the same.
        assert [record["step"] for record in read_journal(path)] == ([0, 1, 2] if cut == 1 else [0, 2])


def test_a_line_under_way_is_not_read_yet(tmp_path):
    path = tmp_path / "journal.jsonl"
    path.write_bytes(b'{"kind":"a"}\n{"kind":')
    tail = Tail(path)
    assert [line.record["kind"] for line in tail.read()] == ["a"]
    path.write_bytes(b'{"kind":"a"}\n{"kind":"b"}\n')
    assert [line.record["kind"] for line in tail.read()] == ["b"]


def test_reading_in_parts_reads_the_same(tmp_path, monkeypatch):
    journal = JSONLExporter(tmp_path / "journal.jsonl")
    journal.write([own_numbers(step) for step in range(20)])
    journal.close()
    whole = str(read_journal(journal.path))
    monkeypatch.setattr("foldmon.journal.following._CHUNK", 100)
    parts = list(Tail(journal.path).parts())
    assert len(parts) == 20, "a part is a line at least"
    assert str([line.record for part in parts for line in part]) == whole


def test_a_journal_that_does_not_exist_is_empty(tmp_path):
    assert read_journal(tmp_path / "none.jsonl") == []


def test_a_full_disk_loses_nothing(small_disk):
    path = small_disk / "journal.jsonl"
    journal = JSONLExporter(path)
    journal.write([own_numbers(0)])
    fill(small_disk)
    failed = 0
    for step in range(1, 10):
        try:
            journal.write([own_numbers(step)])
        except OSError:
            failed += 1
    assert failed, "the disk is full"
    assert journal.waiting
    assert path.read_bytes().endswith(b"\n"), "no half of a line is left in the file"
    os.remove(small_disk / "filler")
    journal.flush()
    assert [record["step"] for record in read_journal(path)] == list(range(10))
    assert seqs(path) == list(range(10))
    journal.close()


def test_a_torn_line_on_a_full_disk_does_not_swallow_the_next(small_disk):
    path = small_disk / "journal.jsonl"
    path.write_bytes(b"x" * 4096)
    fill(small_disk)
    journal = JSONLExporter(path)
    with pytest.raises(OSError, match="No space"):
        journal.write([own_numbers(0)])
    os.remove(small_disk / "filler")
    journal.write([own_numbers(1)])
    assert [record["step"] for record in read_journal(path)] == [0, 1]
    journal.close()


@pytest.mark.parametrize("seq", ['"7"', "null", "1e999", "[1]", "{}", "NaN"])
def test_a_damaged_number_does_not_stop_the_next_run(tmp_path, seq):
    path = tmp_path / "journal.jsonl"
    path.write_text(f'{{"kind":"probe","seq":4}}\n{{"kind":"probe","seq":{seq}}}\n')
    journal = JSONLExporter(path)
    journal.write([start() | {"seq": 5}, own_numbers(0)])
    assert seqs(path)[-2:] == [5, 6]
    journal.close()


def test_a_place_that_cannot_be_written_shows_at_once(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        JSONLExporter(tmp_path / "file" / "journal.jsonl").prepare()


def test_a_second_journal_keeps_numbers_and_times(tmp_path):
    copy = JSONLExporter(tmp_path / "copy.jsonl")
    copy.write([probe(4), probe(9)])
    assert [(r["seq"], r["time_ms"]) for r in read_journal(copy.path)] == [
        (probe(step)["seq"], probe(step)["time_ms"]) for step in (4, 9)
    ]
    copy.close()


def _put_another_in_its_place(path) -> None:
    path.unlink()
    path.write_text('{"kind": "probe", "seq": 7}\n')


@pytest.mark.parametrize(
    ("happens", "said", "before"),
    [
        (lambda path: None, None, [0]),
        (lambda path: path.unlink(), "was removed or moved while it was written; it is there again", [0]),
        (_put_another_in_its_place, "was replaced while it was written; it goes on behind", [7]),
        (lambda path: os.truncate(path, 0), "someone cut the journal", []),
    ],
    ids=["nothing", "removed", "replaced", "cut"],
)
def test_what_becomes_of_the_file_is_said_once_and_the_next_record_is_behind_it(
    tmp_path, caplog, happens, said, before
):
    journal = JSONLExporter(tmp_path / "journal.jsonl")
    journal.write([own_numbers(0)])
    happens(journal.path)
    journal.write([own_numbers(10)])
    journal.write([own_numbers(20)])
    assert seqs(journal.path) == [*before, 1, 2]
    assert [said in record.message for record in caplog.records] == ([True] if said else [])
    journal.close()


def test_a_journal_can_go_on_in_a_temporary_folder_with_all_that_it_held(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "elsewhere"))
    (tmp_path / "elsewhere").mkdir()
    journal = JSONLExporter(tmp_path / "journal.jsonl")
    journal.write([own_numbers(0)])
    journal.move_to_temporary()
    journal.write([own_numbers(10)])
    assert journal.path.name == "journal.jsonl"
    assert (tmp_path / "elsewhere") in journal.path.parents
    assert seqs(journal.path) == [0, 1]
    assert seqs(tmp_path / "journal.jsonl") == [0]
    journal.close()
