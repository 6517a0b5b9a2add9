from __future__ import annotations

import shutil
import threading

import mlflow
import pytest
import torch
from torch import nn

import foldmon
from foldmon.exporters.base import PermanentError
from foldmon.exporters.mlflow import _batches, metric_name
from foldmon.exporters.scalars import scalars
from foldmon.journal.following import read_journal
from tests.exporters.examples import probe, start
from tests.training_loop import train


@pytest.fixture
def uri(tmp_path, mlflow_template):
    """A fresh embedded database, MLflow's current store during the test."""
    before = mlflow.get_tracking_uri()
    shutil.copy(mlflow_template, tmp_path / "mlflow.db")
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path / 'mlflow.db'}")
    yield mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(before)


def test_every_number_arrives_under_its_own_time(uri):
    with mlflow.start_run() as run:
        exporter = foldmon.MLflowExporter()
        records = [probe(0), probe(10)]
        exporter.write([start(), *records])
    client = mlflow.MlflowClient()
    for tag in scalars(records[0]):
        history = client.get_metric_history(run.info.run_id, metric_name(tag))
        expected = [(r["step"], r["time_ms"], scalars(r)[tag]) for r in records]
        assert [(m.step, m.timestamp, m.value) for m in history] == expected
    assert client.get_run(run.info.run_id).data.tags["foldmon.model"] == "Net"


def test_repeating_a_batch_adds_nothing(uri):
    with mlflow.start_run() as run:
        exporter = foldmon.MLflowExporter()
        exporter.write([probe(0)])
        exporter.write([probe(0)])
    assert len(mlflow.MlflowClient().get_metric_history(run.info.run_id, "folding/network")) == 1


def test_a_watched_run_logs_from_the_background_into_the_active_run_only(uri, held_out):
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))
    with mlflow.start_run() as run:
        monitor = foldmon.watch(model, held_out, every=50)
        train(model, 200, torch.optim.SGD(model.parameters(), lr=0.1))
        assert monitor.flush()
        shown = mlflow.MlflowClient().get_metric_history(run.info.run_id, "folding/network")
        journal = [r for r in read_journal(monitor.journal_path) if r["kind"] == "probe"]
        assert [(m.step, m.value) for m in shown] == [(r["step"], r["phi"]) for r in journal]
        monitor.close()
    assert len(mlflow.search_runs(output_format="list")) == 1


def test_without_an_active_run_mlflow_is_left_alone(uri, held_out):
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU())
    foldmon.watch(model, held_out).close()
    assert mlflow.search_runs(output_format="list") == []


def test_asked_for_without_a_run_it_makes_one_and_ends_it(uri):
    exporter = foldmon.MLflowExporter()
    writer = threading.Thread(target=exporter.write, args=([probe(0)],))
    writer.start()
    writer.join()
    exporter.close()
    run = mlflow.MlflowClient().get_run(exporter.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.metrics["folding/network"] == pytest.approx(0.02)
    assert mlflow.active_run() is None


@pytest.mark.parametrize("given", [True, False])
def test_the_users_own_run_is_theirs_to_end(uri, held_out, given):
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU())
    with mlflow.start_run() as run:
        exporter = foldmon.MLflowExporter(run.info.run_id if given else None)
        foldmon.watch(model, held_out, exporters=[exporter]).close()
        assert mlflow.get_run(run.info.run_id).info.status == "RUNNING"
        mlflow.log_metric("mine", 1.0)


def test_a_run_that_was_ended_before_stays_as_it_ended(uri):
    with mlflow.start_run() as run:
        pass
    mlflow.MlflowClient().set_terminated(run.info.run_id, "FAILED")
    exporter = foldmon.MLflowExporter(run.info.run_id)
    exporter.write([probe(0)])
    exporter.close()
    assert mlflow.get_run(run.info.run_id).info.status == "FAILED"


def test_a_run_that_autologging_began_gets_the_values_and_is_left_open(uri, held_out):
    mlflow.pytorch.autolog()
    try:
        model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))
        run = mlflow.start_run()
        with foldmon.watch(model, held_out, every=5, background=False) as monitor:
            train(model, 10, torch.optim.SGD(model.parameters(), lr=0.1))
        assert mlflow.active_run().info.run_id == run.info.run_id
        shown = mlflow.MlflowClient().get_metric_history(run.info.run_id, "folding/network")
        assert [metric.step for metric in shown] == [report.step for report in monitor.history]
        assert len(mlflow.search_runs(output_format="list")) == 1
    finally:
        mlflow.end_run()
        mlflow.pytorch.autolog(disable=True)


def test_a_deleted_run_is_a_permanent_error(uri):
    exporter = foldmon.MLflowExporter()
    mlflow.MlflowClient().delete_run(exporter.run_id)
    with pytest.raises(PermanentError, match=exporter.run_id):
        exporter.write([probe(0)])


def test_more_metrics_than_one_request_takes(uri):
    with mlflow.start_run() as run:
        foldmon.MLflowExporter(layers=None).write([probe(0, layers=700)])
    assert len(mlflow.get_run(run.info.run_id).data.metrics) == len(scalars(probe(0, layers=700)))


def artifacts(run_id: str, folder: str) -> list[str]:
    return [file.path for file in mlflow.MlflowClient().list_artifacts(run_id, folder)]


@pytest.mark.parametrize(("metrics", "sizes"), [(0, []), (1, [1]), (1000, [1000]), (1001, [1000, 1])])
def test_no_request_holds_more_than_a_thousand_metrics_and_none_is_left_out(metrics, sizes):
    batches = list(_batches(range(metrics)))
    assert [len(batch) for batch in batches] == sizes
    assert [metric for batch in batches for metric in batch] == list(range(metrics))


@pytest.mark.parametrize("store", ["sqlite", "file"])
def test_images_parameters_warnings_and_report(uri, store, tmp_path, monkeypatch, held_out):
    if store == "file":
        monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
        mlflow.set_tracking_uri((tmp_path / "mlruns").as_uri())
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))
    with mlflow.start_run() as run:
        mlflow.log_param("foldmon.every", "the user's")
        with foldmon.watch(model, held_out, every=50, exporters=["mlflow"], log_dir=tmp_path / "r"):
            train(model, 100, torch.optim.SGD(model.parameters(), lr=0.1))
        exporter = foldmon.MLflowExporter(run.info.run_id)
        exporter.write([probe(63, event={"step": 63, "severity": 2, "reasons": ["phi grew"]})])
    run_id = run.info.run_id
    params = mlflow.get_run(run_id).data.params
    assert params["foldmon.every"] == "the user's"
    assert params["foldmon.pairs"] == "64"
    assert "foldmon/report.html" in artifacts(run_id, "foldmon")
    assert "phi grew" in mlflow.artifacts.load_text(f"runs:/{run_id}/foldmon/warnings.md")
    names = artifacts(run_id, "images")
    for key in ("class_pairs", "depth_by_time"):
        assert any(f"folding~{key}+step+63+" in name and name.endswith(".png") for name in names)
    assert len(mlflow.search_runs(output_format="list")) == 1


def test_a_store_without_images_still_gets_every_number(uri, monkeypatch):
    with mlflow.start_run() as run:
        exporter = foldmon.MLflowExporter()
        monkeypatch.delattr(mlflow.MlflowClient, "log_image")
        exporter.write([probe(0), probe(1)])
    assert len(mlflow.MlflowClient().get_metric_history(run.info.run_id, "folding/network")) == 2


def test_two_monitors_in_one_run_keep_their_values_apart(uri, held_out, caplog, tmp_path):
    """As the two networks of a GAN."""
    models = [nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3)) for _ in "12"]
    with mlflow.start_run() as run:
        monitors = [
            foldmon.watch(model, held_out, every=20, exporters=["mlflow"], log_dir=tmp_path / str(place))
            for place, model in enumerate(models)
        ]
        assert caplog.text.count("another monitor logs to the same MLflow run") == 1
        for model in models:
            train(model, 40, torch.optim.SGD(model.parameters(), lr=0.1))
        for monitor in monitors:
            monitor.close()
    client = mlflow.MlflowClient()
    for group, monitor in zip(("folding", "folding-2"), monitors, strict=True):
        history = client.get_metric_history(run.info.run_id, f"{group}/network")
        journal = [r for r in read_journal(monitor.journal_path) if r["kind"] == "probe"]
        assert [(m.step, m.value) for m in history] == [(r["step"], r["phi"]) for r in journal]
    found = client.get_run(run.info.run_id).data
    groups = {name.partition("/")[0] for name in found.metrics}
    assert {group.removesuffix("-2") for group in groups if group.endswith("-2")} == {
        group for group in groups if not group.endswith("-2")
    }
    assert {"foldmon.model", "foldmon-2.model"} <= set(found.tags)
    assert artifacts(run.info.run_id, "foldmon-2") == ["foldmon-2/report.html"]
    with mlflow.start_run(run.info.run_id):
        assert foldmon.MLflowExporter()._names("folding/network") == "folding/network", "both are closed"
