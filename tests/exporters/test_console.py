from __future__ import annotations

import io

import foldmon
from tests.exporters.examples import probe, start


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


def test_a_line_now_and_then():
    assert len(printed(*(probe(step) for step in range(0, 150, 10)))) == 3


def test_a_warning_is_never_left_out():
    event = {"step": 10, "severity": 1, "reasons": ["phi grew"]}
    assert [line.split(":")[1] for line in printed(probe(0), probe(10, event=event))] == [
        " step 0",
        " step 10",
    ]
