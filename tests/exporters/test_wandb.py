from __future__ import annotations

import copy
import json
import math
import struct
import time

import pytest
import wandb
from wandb.proto import wandb_internal_pb2

import foldmon
from foldmon.exporters.wandb import WandbExporter
from foldmon.journal.following import read_journal
from tests.exporters.examples import probe
from tests.training_loop import train


def logged_rows(data: bytes):
    """Every history row of an offline run's file: LevelDB's log format behind a header of 7 bytes."""
    rows, parts, place = [], b"", 7
    while place + 7 <= len(data):
        left = 32768 - place % 32768
        if left < 7:
            place += left
            continue
        length, kind = struct.unpack("<HB", data[place + 4 : place + 7])
        parts += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # a whole record, or its last part
            record = wandb_internal_pb2.Record.FromString(parts)
            parts = b""
            if record.WhichOneof("record_type") == "history":
                items = record.history.item
                rows.append({i.key or "/".join(i.nested_key): json.loads(i.value_json) for i in items})
    return rows


def offline_rows(folder, last=None):
    """The rows of the one finished run, as soon as one with ``last`` is in its file, soon after its end."""
    (path,) = folder.glob("wandb/offline-run-*/*.wandb")
    until = time.monotonic() + 30
    while time.monotonic() < until:
        rows = logged_rows(path.read_bytes())
        if any(last is None or last in row for row in rows):
            return rows
        time.sleep(0.05)
    raise AssertionError(f"the run's file never held {last}")


@pytest.fixture
def offline_run(tmp_path):
    run = wandb.init(mode="offline", dir=tmp_path, project="foldmon", settings=wandb.Settings(silent=True))
    yield run
    run.finish()


def test_every_probe_is_in_the_offline_run_under_its_own_step(mlp, held_out, offline_run, tmp_path):
    with foldmon.watch(mlp, held_out, every=5, background=False, exporters=["wandb"]) as monitor:
        train(mlp, 10)
        reports = list(monitor.history)
    offline_run.finish()
    rows = [row for row in offline_rows(tmp_path) if "folding/network" in row]
    rows.sort(key=lambda row: row["foldmon/step"])
    assert [row["foldmon/step"] for row in rows] == [0, 5, 10]
    assert [row["folding/network"] for row in rows] == pytest.approx([report.phi for report in reports])
    assert {"folding/layer/01.3", "folding_ci/network_lower", "foldmon/overhead"} <= set(rows[0])


def test_records_offered_again_are_not_logged_twice(mlp, held_out, offline_run, tmp_path):
    exporter = WandbExporter(offline_run)
    with foldmon.watch(mlp, held_out, exporters=["jsonl"]) as monitor:
        monitor.probe()
    records = read_journal(monitor.journal_path)
    exporter.write(records)
    exporter.write(records)
    exporter.close()
    probes = sum(record["kind"] == "probe" for record in records)
    offline_run.finish()
    assert len([row for row in offline_rows(tmp_path) if "folding/network" in row]) == probes > 0


def test_a_warning_is_an_alert_and_in_the_summary(mlp, held_out, offline_run):
    with foldmon.watch(mlp, held_out, exporters=["jsonl"]) as monitor:
        monitor.probe()
    record = read_journal(monitor.journal_path)[1]
    event = {"step": 7, "severity": 2, "reasons": ["phi rises", "decisions fold"]}
    WandbExporter(offline_run).write([record | {"warning": {"level": 2, "event": event}}])
    assert offline_run.summary["foldmon/warning"] == "step 7 (severity 2): phi rises; decisions fold"


def test_without_a_run_it_says_what_to_do():
    with pytest.raises(ValueError, match=r"call wandb.init\(\) first"):
        WandbExporter()


def test_nan_is_logged_as_nan(offline_run, mlp, held_out, tmp_path):
    with foldmon.watch(mlp, held_out, exporters=["wandb"], every=1, background=False) as monitor:
        monitor.log(val_loss=float("nan"))
        train(mlp, 1)
    offline_run.finish()
    rows = [row for row in offline_rows(tmp_path) if "val_loss" in row]
    assert len(rows) == 1
    assert math.isnan(float(rows[0]["val_loss"]))


def test_a_deep_model_gets_few_charts_which_then_stay(offline_run, tmp_path):
    records = [probe(step, phi=0.01 * step, layers=200) for step in range(10)]
    first = WandbExporter(offline_run, layers=5)
    first.write(records[:6])
    first.close()
    resumed = WandbExporter(offline_run, layers=5)
    resumed.recall(records[:6])
    resumed.write(records[6:])
    resumed.close()
    offline_run.finish()
    rows = [row for row in offline_rows(tmp_path) if "folding/network" in row]
    rows.sort(key=lambda row: row["foldmon/step"])
    charts = [{tag for tag in row if tag.startswith("folding/layer/")} for row in rows]
    assert charts == [set()] * 3 + [charts[-1]] * 7
    assert len(charts[-1]) == 5


@pytest.mark.parametrize("chosen", [True, False])
def test_the_users_own_values_are_all_there_whatever_the_steps(offline_run, tmp_path, chosen, caplog):
    """Rows of ours would move the run's step on, and of the user's those behind it would be dropped."""
    exporter = WandbExporter(offline_run)
    for epoch in range(20):
        for step in range(3 * epoch, 3 * epoch + 3):
            exporter.write([probe(step)])
        offline_run.log({"mine": epoch}, **{"step": epoch} if chosen else {})
    exporter.close()
    offline_run.log({"mine": 20, "over": 1}, **{"step": 20} if chosen else {})
    offline_run.finish()
    rows = offline_rows(tmp_path, "over")
    assert [row["mine"] for row in rows if "mine" in row] == list(range(21))
    ours = [row["foldmon/step"] for row in rows if "foldmon/step" in row]
    if chosen:
        assert ours == list(range(5, 60, 3))
        assert "41 probes are not in the Weights & Biases run" in caplog.text
    else:
        assert sorted(ours) == list(range(60))
        assert "not in the" not in caplog.text


def test_two_monitors_in_one_run_keep_their_values_apart(mlp, held_out, offline_run, tmp_path):
    models = mlp, copy.deepcopy(mlp)
    monitors = [
        foldmon.watch(model, held_out, every=5, background=False, exporters=["wandb"], log_dir=str(place))
        for place, model in enumerate(models)
    ]
    train(models[0], 10)
    train(models[1], 15)
    for monitor in monitors:
        monitor.close()
    offline_run.finish()
    rows = offline_rows(tmp_path)
    for mark, steps in (("", [0, 5, 10]), ("-2", [0, 5, 10, 15])):
        own = [
            row
            for row in rows
            if row.get(f"folding{mark}/network", math.nan) == row.get(f"folding{mark}/network")
        ]
        assert sorted(row[f"foldmon{mark}/step"] for row in own if f"folding{mark}/network" in row) == steps


def test_what_only_the_earlier_of_two_probes_had_is_not_taken_for_the_laters(offline_run, tmp_path):
    exporter = WandbExporter(offline_run)
    exporter.write([probe(0) | {"logged": {"val_loss": 0.5, "rate": 0.1}}])
    exporter.write([probe(5) | {"logged": {"val_loss": 0.4}}])
    offline_run.log({"loss": 1.0})
    exporter.close()
    offline_run.finish()
    rows = {row["foldmon/step"]: row for row in offline_rows(tmp_path, "folding/network")}
    assert rows[0]["rate"] == 0.1
    assert rows[5]["val_loss"] == 0.4
    assert math.isnan(float(rows[5]["rate"]))
    assert rows[5]["loss"] == 1.0
