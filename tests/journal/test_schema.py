"""What a monitor writes is what the schema says."""

from __future__ import annotations

from typing import get_args, get_type_hints, is_typeddict

import pytest

import foldmon
from foldmon.journal.check import flaw
from foldmon.journal.following import read_journal
from foldmon.journal.schema import EndRecord, ProbeRecord, StartRecord
from tests.training_loop import train

SCHEMAS = {"start": StartRecord, "probe": ProbeRecord, "end": EndRecord}


def assert_keys(part, schema) -> None:
    hints = get_type_hints(schema)
    assert set(part) == set(hints), schema.__name__
    for key, hint in hints.items():
        for entry in filter(is_typeddict, (hint, *get_args(hint))):
            if part[key] is not None:
                assert_keys(part[key], entry)


@pytest.mark.parametrize("method", ["sampled", "exact"])
def test_a_record_holds_every_key_of_the_schema_and_no_other(mlp, held_out, tmp_path, method):
    options = {"every": 5, "method": method, "background": False, "exporters": [], "log_dir": tmp_path}
    with foldmon.watch(mlp, held_out, **options) as monitor:
        monitor._alarm._detector.update = lambda record: foldmon.FoldingWarning(
            record["step"], 1, ("why",), kind="loss", best_step=5
        )
        monitor.log(loss=1.0)
        train(mlp, 10)
    records = read_journal(monitor.journal_path)
    assert {record["kind"] for record in records} == set(SCHEMAS)
    for record in records:
        assert flaw(record) is None
        assert_keys(record, SCHEMAS[record["kind"]])
    warnings = [record["warning"]["event"] for record in records if record["kind"] == "probe"]
    expected = {"step": 10, "severity": 1, "reasons": ["why"], "kind": "loss", "best_step": 5}
    assert warnings[-1] == expected
