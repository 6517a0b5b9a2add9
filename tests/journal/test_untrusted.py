"""Journals and names of any content; the cases come from ``tests/fuzz`` or from reading the code."""

from __future__ import annotations

import json
import shutil

import pytest
from mlflow.utils.validation import _validate_metric_name

import foldmon
from foldmon.exporters.mlflow import metric_name
from foldmon.exporters.scalars import (
    layer_tags,
    safe_name,
    safe_tag,
    scalars,
)
from foldmon.journal.check import flaw
from foldmon.journal.following import parsed, read_journal
from foldmon.journal.writing import JSONLExporter
from tests.exporters.examples import held_out, probe, start

LINES = [
    b"\x00",
    b"\xff\xfe{\x00",
    b"[" * 100_000,
    b'{"kind":' * 50_000,
    b"nan",
    b'"kind"',
    b'{"kind":1}',
    b'{"kind":"probe","step":' + b"9" * 5000 + b"}",
    b'{"kind":"\\ud800"}',
]


@pytest.mark.parametrize("line", LINES, ids=range(len(LINES)))
def test_any_line_is_a_record_or_has_a_cause(line):
    record, cause = parsed(line)
    assert (record is None) == bool(cause)
    if record is not None:
        assert "missing" in flaw(record)


@pytest.mark.parametrize("line", LINES, ids=range(len(LINES)))
def test_any_file_can_be_continued(tmp_path, line):
    path = tmp_path / "journal.jsonl"
    path.write_bytes(line)
    journal = JSONLExporter(path)
    journal.write([{"kind": "end"}])
    journal.close()
    assert read_journal(path)[-1]["kind"] == "end"


EVENT = {"step": 1, "severity": 1, "reasons": ["a"]}
DAMAGE = [
    ({"step": -1}, "'step' is -1"),
    ({"step": 2**63}, "'step' is 9223372036854775808"),
    ({"step": True}, "'step' is True"),
    ({"step": 1.5}, "'step' is 1.5"),
    ({"time_ms": None}, "'time_ms' is None"),
    ({"seq": "0"}, "'seq' is '0'"),
    ({"phi": 10**400}, "'phi' is 1000"),
    ({"phi_interval": [0.1]}, "'phi_interval' has not two ends"),
    ({"layers": ["a", "b"]}, "'folding' has 3 values for 2 layers"),
    ({"layers": [1, 2, 3]}, "'layers' is [1, 2, 3]"),
    ({"cumulative": {}}, "'cumulative' is {}"),
    ({"decision": {}}, "'changes' is missing"),
    ({"decision": [1]}, "'decision' is [1]"),
    ({"warning": {"level": "x", "event": None}}, "'level' is 'x'"),
    ({"warning": {"level": 1, "event": {}}}, "'step' is missing"),
    ({"warning": {"level": 1, "event": EVENT | {"reasons": "no list"}}}, "'reasons' is 'no list'"),
    ({"monitor": {}}, "'overhead' is missing"),
    ({"held_out": 1}, "'held_out' is 1"),
    ({"held_out": {}}, "'loss' is missing"),
    ({"held_out": held_out(loss="low")}, "'loss' is 'low'"),
    ({"held_out": held_out(accuracy_interval=[0.1])}, "an interval of 'held_out' has not two ends"),
    ({"held_out": held_out(loss_interval=0.1)}, "'loss_interval' is 0.1"),
    ({"logged": {"loss": "low"}}, "'logged' is {'loss': 'low'}"),
]


@pytest.mark.parametrize(("damage", "cause"), DAMAGE, ids=[cause for _, cause in DAMAGE])
def test_a_damaged_probe_is_recognised(damage, cause):
    assert flaw(probe(1)) is None
    assert flaw(probe(1) | damage).startswith(cause)


def test_a_damaged_start_is_recognised():
    assert flaw(start()) is None
    assert flaw(start() | {"coverage": {}}) == "'sites' is missing"
    assert flaw(start() | {"config": 3}) == "'config' is 3"
    assert flaw(start() | {"coverage": {"sites": {"a": "many"}}}) == "'sites' is {'a': 'many'}"
    assert flaw(start() | {"coverage": {"sites": {}, "not_covered": 7}}) == "'not_covered' is 7"


def test_odd_but_sound_values_reach_every_backend(tmp_path, mlflow_template):
    odd = {"phi": float("nan"), "phi_interval": [float("-inf"), 2**62], "nonzero_fraction": 1e308}
    record = json.loads(json.dumps(probe(0) | odd | {"step": 2**62} | {"layers": ["", "\ud800", "x" * 9999]}))
    assert flaw(record) is None
    exporter = foldmon.TensorBoardExporter(tmp_path)
    exporter.write([record])
    exporter.close()
    shutil.copy(mlflow_template, tmp_path / "mlflow.db")
    to_mlflow = foldmon.MLflowExporter(tracking_uri=f"sqlite:///{tmp_path}/mlflow.db")
    assert next(iter(to_mlflow._metrics(record))).step == 2**62
    to_mlflow.close()


NAMES = [
    "../../etc/passwd", "..", ".", "", "/", "//", "a/../b", "....//", "a\x00b\nc\x1b[2J", "\ud800", "é" * 500,
    "x" * 5000, "con", "a[0]#(b)=|c", "~", "\u202e", " ", "%2e%2e", "\\..\\up", "a" * 119 + "é",
    "y" * 60 + "." * 100, "folding/network",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_names_are_safe_for_tags_metrics_and_files(name, tmp_path):
    safe = safe_name(name)
    assert safe not in ("", ".", "..")
    assert "/" not in safe
    assert "\\" not in safe
    assert ".." not in safe
    assert safe.isprintable()
    assert len(safe.encode()) <= 120
    (tmp_path / f"foldmon-{safe}.png").touch()
    assert [path.parent for path in tmp_path.rglob("foldmon-*")] == [tmp_path]
    for tag in (safe_tag(name), f"folding/layer/{layer_tags([name])[0]}"):
        _validate_metric_name(metric_name(tag))


def test_layers_whose_names_become_equal_stay_apart():
    names = [f"{'x' * 200}{middle}{'y' * 200}" for middle in "abc"]
    assert len({safe_name(name) for name in names}) == 1
    assert len(set(layer_tags(names))) == 3


def test_logged_names_neither_hide_each_other_nor_foldmons_own():
    logged = {"folding/network": 7.0, "a b": 1.0, "a_b": 2.0}
    values = scalars(probe(0, phi=0.02) | {"logged": logged})
    assert values["folding/network"] == 0.02
    assert sorted(values.values()).count(7.0) == 1
    assert (values["a_b"], values["a_b-2"]) == (1.0, 2.0)
