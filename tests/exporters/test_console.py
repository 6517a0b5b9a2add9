from __future__ import annotations

import io

import foldmon
from tests.exporters.examples import held_out, probe, start


def printed(*records) -> list[str]:
    file = io.StringIO()
    foldmon.ConsoleExporter(seconds=60, file=file).write(records)
    return file.getvalue().splitlines()


def test_coverage_is_said_once_and_names_what_is_missed():
    record = start()
    record["coverage"]["not_covered"] = {f"rnn{n}": "fused gates" for n in range(5)}
    [line] = printed(record)
    assert "measuring 3 activation sites with 30 units" in line
    assert "rnn2 (fused gates), and 2 more" in line


def test_of_a_batch_all_is_read_that_begins_with_what_is_no_probe():
    first, second = printed(start(), probe(0))
    assert first.startswith("foldmon: measuring")
    assert second.startswith("foldmon: step 0:")


def test_a_line_now_and_then():
    assert len(printed(*(probe(step) for step in range(0, 150, 10)))) == 3
    lines = printed(*(probe(step) for step in (0, 59, 60)))
    assert [line.split(":")[1] for line in lines] == [" step 0", " step 60"]


def test_the_last_probe_is_said_at_the_end_and_not_twice():
    end = {"kind": "end", "seq": 99, "time_ms": 0, "step": 20, "monitor": {"overhead": 0.0, "skipped": 0}}
    lines = printed(*(probe(step) for step in (0, 10, 20)), end)
    assert [line.split(":")[1] for line in lines] == [" step 0", " step 20"]
    assert len(printed(probe(0), end)) == 1


def test_a_share_of_the_pairs_is_said():
    [line] = printed(probe(0) | {"pairs": 64, "measured": [3, 5]})
    assert "1.5 class changes a path (2 of 64 pairs), cost " in line
    assert "pairs" not in printed(probe(0) | {"pairs": 64, "measured": None})[0]


def test_held_out_scores_are_said_where_they_are_known():
    [line] = printed(probe(0) | {"held_out": held_out()})
    assert "held-out accuracy 90.0%, loss 0.3100" in line
    unknown = held_out(loss=None, loss_interval=None, accuracy=None, accuracy_interval=None)
    assert "held-out" not in printed(probe(0) | {"held_out": unknown})[0]


def test_a_warning_is_never_left_out():
    event = {"step": 10, "severity": 1, "reasons": ["phi grew"]}
    assert [line.split(":")[1] for line in printed(probe(0), probe(10, event=event))] == [
        " step 0",
        " step 10",
    ]
