"""Exporters and disks that fail, while a model trains."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import foldmon
from foldmon.exporters.replay import replay
from foldmon.journal.following import read_journal
from tests.faults.twin import assert_training_is_the_same, data, network
from tests.training_loop import train


class Faulty:
    """Calls ``fault`` whenever it is called."""

    name = "faulty"

    def __init__(self, fault) -> None:
        self.fault = fault
        self.steps: list[int] = []

    def write(self, records) -> None:
        self.fault()
        self.steps += [record["step"] for record in records if record["kind"] == "probe"]

    def close(self) -> None:
        self.fault()


def probed(monitor: foldmon.Monitor) -> list[int]:
    return [r["step"] for r in read_journal(monitor.journal_path) if r["kind"] == "probe"]


def shown(folder) -> list[int]:
    events = EventAccumulator(str(folder), {"scalars": 0}).Reload()
    return [event.step for event in events.Scalars("folding/network")]


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 256 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    if os.name != "posix" or os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("mounting a small disk takes root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill_up(folder) -> None:
    with open(folder / "filler", "wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 256)


@pytest.mark.parametrize("error", [RuntimeError("no"), OSError(28, "full"), SystemExit(3), KeyError()])
def test_an_exporter_that_raises_on_each_call(error, caplog):
    def fault():
        raise error

    monitors = []

    def watch(model):
        exporters = [Faulty(fault), "tensorboard"]
        monitors.append(foldmon.watch(model, data(), every=10, exporters=exporters, log_dir="run"))
        return monitors[-1]

    assert_training_is_the_same(watch)
    assert caplog.text.count("the faulty exporter failed (") == 1
    assert "not everything reached the faulty exporter" in caplog.text
    assert shown("run/foldmon") == probed(monitors[0]), "the others are not concerned"


def test_every_exporter_of_ours_raising_on_each_call(monkeypatch, caplog):
    def fault(*arguments):
        raise OSError("gone")

    for exporter in (foldmon.TensorBoardExporter, foldmon.ConsoleExporter):
        for method in ("write", "close"):
            monkeypatch.setattr(exporter, method, fault)
    assert_training_is_the_same(lambda model: foldmon.watch(model, data(), every=10, log_dir="run"))
    assert caplog.text.count("exporter failed (") == 2


def test_an_exporter_that_hangs_does_not_hold_up_training_or_closing():
    release = threading.Event()
    seconds: list[float] = []

    def watch(model):
        faulty = Faulty(lambda: release.wait(60))
        monitor = foldmon.watch(model, data(), every=10, exporters=[faulty], log_dir="run")
        monitors.append(monitor)
        return monitor

    monitors: list[foldmon.Monitor] = []
    began = time.monotonic()
    # Closing waits for five seconds at most there.
    assert_training_is_the_same(watch)
    seconds.append(time.monotonic() - began)
    release.set()
    assert seconds[0] < 50, "the exporter hangs for a minute a call"


def test_an_exporter_that_fails_at_first_gets_everything():
    failures = iter([True, True])

    def fault():
        if next(failures, False):
            raise ConnectionError("not yet")

    faulty = Faulty(fault)
    model = network()
    monitor = foldmon.watch(model, data(), every=5, exporters=[faulty], log_dir="run")
    train(model, 30)
    assert monitor.flush()
    assert faulty.steps == probed(monitor)


def test_a_folder_that_cannot_be_written(tmp_path, caplog):
    (tmp_path / "file").touch()
    monitors = []

    def watch(model):
        monitors.append(foldmon.watch(model, data(), every=10, exporters="tensorboard", log_dir="file/run"))
        return monitors[-1]

    assert_training_is_the_same(watch)
    assert "it is kept in" in caplog.text
    steps = probed(monitors[0])
    assert steps[0] == 0
    replay(monitors[0].journal_path, foldmon.TensorBoardExporter("elsewhere"))
    assert shown("elsewhere/foldmon") == steps


def test_a_full_disk_loses_nothing(small_disk, caplog):
    monitors = []

    def fill(model):
        if monitors:
            monitors[0].flush()
            fill_up(small_disk)

    def watch(model):
        log_dir = str(small_disk / "run")
        monitors.append(foldmon.watch(model, data(), every=10, exporters="tensorboard", log_dir=log_dir))
        return monitors[-1]

    assert_training_is_the_same(watch, during=fill)
    monitor = monitors[0]
    assert "No space left" in caplog.text
    moved = read_journal(monitor.journal_path)
    there = read_journal(small_disk / "run" / "foldmon" / "journal.jsonl")
    seqs = sorted({record["seq"] for record in there + moved})
    assert seqs == list(range(len(seqs))), "every record is in one of the two journals"
    assert moved[-1]["kind"] == "end"


def test_a_full_disk_that_is_cleared_gets_everything(small_disk):
    model = network()
    monitor = foldmon.watch(model, data(), every=10, exporters="tensorboard", log_dir=str(small_disk))
    train(model, 20)
    assert monitor.flush(120)
    fill_up(small_disk)
    for _ in range(3):
        monitor.probe()
    assert not monitor.flush(0.5)
    os.remove(small_disk / "filler")
    monitor.probe()
    assert monitor.flush(120)
    steps = probed(monitor)
    assert len(steps) >= 5
    # Of several probes at one step TensorBoard keeps the last.
    assert shown(small_disk / "foldmon") == sorted(set(steps))


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class Server:
    """A real MLflow server on a database of its own."""

    def __init__(self, folder) -> None:
        self.port = free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        self.folder = folder

    def start(self) -> None:
        command = [
            sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port),
            "--backend-store-uri", f"sqlite:///{self.folder / 'mlflow.db'}", "--workers", "1",
            "--default-artifact-root", str(self.folder / "artifacts"),
        ]  # fmt: skip
        with open(self.folder / "server.log", "ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        for _ in range(240):
            try:
                urllib.request.urlopen(f"{self.uri}/health", timeout=1)
                return
            except OSError:
                time.sleep(0.25)
        raise RuntimeError((self.folder / "server.log").read_text())

    def kill(self) -> None:
        os.killpg(self.process.pid, 9)
        self.process.wait()


@pytest.mark.slow
def test_an_mlflow_server_that_is_killed_and_comes_back_misses_nothing(
    tmp_path, mlflow_template, monkeypatch
):
    import shutil

    import mlflow

    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "5")
    shutil.copy(mlflow_template, tmp_path / "mlflow.db")
    server = Server(tmp_path)
    server.start()
    try:
        client = mlflow.MlflowClient(server.uri)
        run = client.create_run("0").info.run_id
        model = network()
        exporter = foldmon.MLflowExporter(run, server.uri)
        monitor = foldmon.watch(model, data(), every=5, exporters=[exporter], log_dir="run")
        train(model, 20)
        assert monitor.flush()
        server.kill()
        train(model, 40)
        monitor.probe()
        assert not monitor.flush(2)
        server.start()
        train(model, 20)
        assert monitor.flush(120)
        monitor.close()
        history = client.get_metric_history(run, "folding/network")
        records = [r for r in read_journal(monitor.journal_path) if r["kind"] == "probe"]
        found = sorted((m.step, m.timestamp, m.value) for m in history)
        assert found == sorted((r["step"], r["time_ms"], r["phi"]) for r in records)
        assert {r["step"] for r in records} >= {0, 60}
    finally:
        server.kill()
