from __future__ import annotations

import json
import logging
import shutil

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import foldmon
from foldmon.exporters.replay import replay
from foldmon.exporters.scalars import scalars
from foldmon.journal.check import read_checked
from tests.exporters.examples import probe, start

COUNT = 30


@pytest.fixture
def journal(tmp_path):
    path = tmp_path / "journal.jsonl"
    records = [start(), *(probe(step, phi=0.001 * step) for step in range(COUNT))]
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def shown(folder, tag: str = "folding/network") -> list[tuple[int, float]]:
    events = EventAccumulator(str(folder), {"scalars": 0, "tensors": 0}).Reload()
    return [(event.step, event.value) for event in events.Scalars(tag)]


def expected(tag: str = "folding/network") -> list:
    return [(step, pytest.approx(scalars(probe(step, phi=0.001 * step))[tag])) for step in range(COUNT)]


def test_tensorboard_shows_what_the_journal_holds(journal, tmp_path):
    assert replay(journal, foldmon.TensorBoardExporter(tmp_path / "run")) == COUNT
    for tag in ("folding/network", "folding/layer/02.block.2.relu"):
        assert shown(tmp_path / "run" / "foldmon", tag) == expected(tag)


def test_what_tensorboard_has_already_is_not_doubled(journal, tmp_path):
    live = foldmon.TensorBoardExporter(tmp_path)
    live.write([probe(step, phi=0.001 * step) for step in range(10)])
    live.close()
    users_own = tmp_path / "events.out.tfevents.1.host"
    users_own.write_bytes(b"the user's")
    for _ in range(2):
        replay(journal, foldmon.TensorBoardExporter(tmp_path))
    assert shown(tmp_path / "foldmon") == expected()
    assert users_own.read_bytes() == b"the user's"
    assert len(list((tmp_path / "foldmon").iterdir())) == 1


def test_a_replay_that_fails_leaves_what_was_there(journal, tmp_path, monkeypatch):
    live = foldmon.TensorBoardExporter(tmp_path)
    live.write([probe(0)])
    live.close()
    monkeypatch.setattr(
        "foldmon.exporters.replay.shutil.copyfile", lambda *_: (_ for _ in ()).throw(OSError())
    )
    with pytest.raises(OSError):
        replay(journal, foldmon.TensorBoardExporter(tmp_path))
    assert [step for step, _ in shown(tmp_path / "foldmon")] == [0]


def test_mlflow_keeps_every_value_once(journal, tmp_path, mlflow_template):
    import mlflow

    shutil.copy(mlflow_template, tmp_path / "mlflow.db")
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    client = mlflow.MlflowClient(uri)
    run = client.create_run("0").info.run_id
    # A part arrived while the run was live.
    foldmon.MLflowExporter(run, uri).write([probe(step, phi=0.001 * step) for step in range(5)])
    for _ in range(2):
        replay(journal, foldmon.MLflowExporter(run, uri))
    for tag in ("folding/network", "foldmon/overhead"):
        history = client.get_metric_history(run, tag)
        assert sorted((m.step, m.value) for m in history) == expected(tag)


def test_damaged_lines_are_named_and_left_out(journal, tmp_path, caplog):
    whole = journal.read_bytes()
    broken = probe(3) | {"layers": 7}
    journal.write_bytes(b"\xff\xfe\x00\n" + json.dumps(broken).encode() + b"\n" + whole + b'{"kind": "pro')
    with caplog.at_level(logging.WARNING):
        assert replay(journal, foldmon.TensorBoardExporter(tmp_path)) == COUNT
    assert "line 1: no JSON" in caplog.text
    assert "line 2: 'layers' is 7" in caplog.text
    assert len(caplog.records) == 2, "the torn last line is ordinary"


def test_a_journal_of_nothing_is_a_clear_error(tmp_path):
    path = tmp_path / "journal.jsonl"
    exporter = foldmon.TensorBoardExporter(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"journal\.jsonl"):
        replay(path, exporter)
    path.write_text("\n\nhello\n")
    with pytest.raises(ValueError, match=r"holds no probe \(line 3: no JSON"):
        replay(path, exporter)
    assert not (tmp_path / "foldmon").exists(), "nothing is touched"


def test_records_of_unknown_kinds_are_passed_on(tmp_path):
    path = tmp_path / "journal.jsonl"
    path.write_text('{"kind":"later","seq":0,"time_ms":1}\n')
    assert read_checked(path) == ([{"kind": "later", "seq": 0, "time_ms": 1}], [])
