"""Where values go when folders move, vanish, are shared or are no folders of this machine."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

import foldmon
from foldmon.exporters.output import Output
from foldmon.exporters.resolve import resolve
from foldmon.journal.following import read_journal
from foldmon.journal.writing import JSONLExporter, TakenError
from tests.exporters.examples import probe
from tests.exporters.test_delivery import Backend, no_report
from tests.training_loop import train


def steps(path) -> list[int]:
    return [record["step"] for record in read_journal(path) if record["kind"] == "probe"]


def shown(folder) -> list[int]:
    events = EventAccumulator(str(folder), {"scalars": 0}).Reload()
    return [event.step for event in events.Scalars("folding/network")]


def watched(model, held_out, **options) -> foldmon.Monitor:
    defaults = {"every": 1, "background": False, "exporters": ["tensorboard"], "log_dir": "run"}
    return foldmon.watch(model, held_out, **defaults | options)


def optimizer_of(model):
    return torch.optim.SGD(model.parameters(), 0.1)


def remove(folder) -> None:
    shutil.rmtree(folder)


def move(folder) -> None:
    folder.rename(folder.with_name("archive"))


def replace_by_an_empty_folder(folder) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


def remove_the_journal(folder) -> None:
    (folder / "foldmon" / "journal.jsonl").unlink()


GONE = [remove, move, replace_by_an_empty_folder, remove_the_journal]


@pytest.mark.parametrize("gone", GONE)
@pytest.mark.parametrize("asked", ["by the next probe", "by flush alone", "by closing"])
def test_what_vanishes_during_the_run_comes_back_whole_and_it_is_said(
    mlp, held_out, tmp_path, caplog, gone, asked
):
    optimizer = optimizer_of(mlp)
    monitor = watched(mlp, held_out)
    train(mlp, 2, optimizer)
    assert monitor.flush()
    gone(tmp_path / "run")
    expected = [0, 1, 2]
    if asked == "by the next probe":
        train(mlp, 2, optimizer)
        expected += [3, 4]
        assert caplog.text.count("was removed or moved while it was written") == 1
    if asked == "by closing":
        monitor.close()
    else:
        assert monitor.flush()
    assert caplog.text.count("was removed or moved while it was written") == 1
    assert monitor.journal_path == str(tmp_path / "run" / "foldmon" / "journal.jsonl")
    assert steps(monitor.journal_path) == expected
    assert shown(tmp_path / "run" / "foldmon") == expected
    seqs = [record["seq"] for record in read_journal(monitor.journal_path)]
    assert seqs == list(range(len(seqs)))


def test_a_journal_that_cannot_come_back_is_kept_elsewhere_at_the_end(tmp_path, caplog):
    backend = Backend()
    output = Output(JSONLExporter(tmp_path / "run" / "journal.jsonl"), [backend], no_report)
    output.write(probe(0))
    assert output.flush(10)
    remove(tmp_path / "run")
    (tmp_path / "run").touch()  # a file where the folder was
    output.write(probe(1))
    assert "cannot be written" in caplog.text
    assert not output.flush(0.2), "what waits in memory is not delivered"
    output.close(10)
    assert steps(output.journal.path) == [0, 1]
    assert str(output.journal.path) in caplog.text
    assert backend.steps == [0, 1]


def test_flush_tells_of_a_journal_that_waits_in_memory_also_where_nothing_reads_it(tmp_path):
    output = Output(JSONLExporter(tmp_path / "run" / "journal.jsonl"), [], no_report)
    output.write(probe(0))
    assert output.flush(10)
    remove(tmp_path / "run")
    (tmp_path / "run").touch()
    output.write(probe(1))
    assert not output.flush(0.2)
    (tmp_path / "run").unlink()
    assert output.flush(0.2)
    assert steps(output.journal.path) == [0, 1]
    output.close(10)


def test_a_journal_that_someone_put_in_its_place_is_continued(tmp_path, caplog):
    journal = JSONLExporter(tmp_path / "journal.jsonl")
    journal.write([probe(0), probe(1)])
    edited = tmp_path / "edited"
    edited.write_bytes(journal.path.read_bytes().splitlines(keepends=True)[0])
    edited.replace(journal.path)
    journal.write([probe(2)])
    assert steps(journal.path) == [0, 2]
    assert "was replaced while it was written" in caplog.text
    journal.close()


def test_a_journal_that_is_cut_is_said(tmp_path, caplog):
    journal = JSONLExporter(tmp_path / "journal.jsonl")
    journal.write([probe(0), probe(1)])
    os.truncate(journal.path, 0)
    journal.write([probe(2)])
    assert steps(journal.path) == [2]
    assert caplog.text.count("someone cut the journal") == 1
    journal.close()


def test_the_working_folder_may_change(mlp, held_out, tmp_path, monkeypatch):
    optimizer = optimizer_of(mlp)
    exporter = foldmon.TensorBoardExporter("other")
    monitor = watched(mlp, held_out, exporters=["tensorboard", exporter])
    train(mlp, 1, optimizer)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    train(mlp, 1, optimizer)
    assert monitor.flush()
    for folder in ("run", "other"):
        assert shown(tmp_path / folder / "foldmon") == [0, 1, 2]
    assert steps(monitor.journal_path) == [0, 1, 2]
    monitor.plot()
    assert os.listdir(tmp_path / "elsewhere") == []


def test_the_home_folder_has_its_sign(mlp, held_out, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monitor = watched(mlp, held_out, log_dir="~/runs/a")
    assert monitor.flush()
    assert monitor.journal_path == str(tmp_path / "home" / "runs" / "a" / "foldmon" / "journal.jsonl")
    assert shown(tmp_path / "home" / "runs" / "a" / "foldmon") == [0]
    assert foldmon.TensorBoardExporter("~/b").folder == tmp_path / "home" / "b" / "foldmon"
    assert foldmon.JSONLExporter("~/c.jsonl").path == tmp_path / "home" / "c.jsonl"


def test_a_journal_has_one_writer(tmp_path):
    first = JSONLExporter(tmp_path / "journal.jsonl")
    first.prepare()
    second = JSONLExporter(tmp_path / "journal.jsonl")
    with pytest.raises(TakenError):
        second.prepare()
    first.close()
    second.prepare()
    second.close()


def test_threads_on_one_log_dir_have_a_journal_and_events_each(held_out, tmp_path, caplog):
    monitors: list[foldmon.Monitor] = []

    def trial():
        model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))
        monitors.append(watched(model, held_out, every=None, allowance=0.0))
        models.append(model)

    models: list[nn.Module] = []
    threads = [threading.Thread(target=trial) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for monitor in monitors:
        monitor.probe()
        assert monitor.flush()
    paths = {monitor.journal_path for monitor in monitors}
    folders = [tmp_path / "run" / name for name in ("foldmon", "foldmon-2", "foldmon-3")]
    assert paths == {str(folder / "journal.jsonl") for folder in folders}
    assert caplog.text.count("another monitor writes to") == 2
    for folder in folders:
        assert len(list(folder.glob("events.out.*"))) == 1
        assert shown(folder) == sorted(set(steps(folder / "journal.jsonl")))
    for monitor in monitors:
        monitor.close()


_RANK = """
import json, sys, torch, foldmon
from torch import nn
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))
monitor = foldmon.watch(model, torch.randn(60, 8), exporters=["tensorboard"], log_dir="run")
print("ready", flush=True)
sys.stdin.readline()
monitor.probe()
monitor.close()
print(json.dumps(monitor.journal_path), flush=True)
"""


@pytest.mark.slow
def test_processes_on_one_log_dir_have_a_journal_each_and_a_killed_one_leaves_its_own(tmp_path):
    def start() -> subprocess.Popen[str]:
        command = [sys.executable, "-c", _RANK]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, cwd=tmp_path)

    ranks = [start(), start()]
    try:
        assert [rank.stdout.readline() for rank in ranks] == ["ready\n"] * 2
        outs = [rank.communicate("\n", timeout=120) for rank in ranks]
        paths = {json.loads(out.splitlines()[-1]) for out, _ in outs}
        assert paths == {str(tmp_path / "run" / n / "journal.jsonl") for n in ("foldmon", "foldmon-2")}
        assert sum("another monitor writes to" in err for _, err in outs) == 1
        ranks.append(start())
        ranks[-1].stdout.readline()
        ranks[-1].kill()
        ranks[-1].wait(30)
        ranks.append(start())
        out, err = ranks[-1].communicate("\n", timeout=120)
        assert "another monitor" not in err
        assert json.loads(out.splitlines()[-1]) == str(tmp_path / "run" / "foldmon" / "journal.jsonl")
    finally:
        for rank in ranks:
            rank.kill()


def test_an_address_gets_the_events_live_and_the_journal_at_the_end(mlp, held_out, tmp_path):
    fsspec = pytest.importorskip("fsspec")
    files = fsspec.filesystem("memory")
    monitor = watched(mlp, held_out, log_dir="memory://bucket/run")
    train(mlp, 2, optimizer_of(mlp))
    assert monitor.flush()
    [events] = files.ls("/bucket/run/foldmon", detail=False)
    files.get(events, str(tmp_path / "copy" / os.path.basename(events)))
    assert shown(tmp_path / "copy") == [0, 1, 2]
    monitor.close()
    assert monitor.journal_path.startswith(str(tmp_path / "runs"))
    text = files.cat("/bucket/run/foldmon/journal.jsonl").decode()
    assert [json.loads(line)["seq"] for line in text.splitlines()] == list(range(len(text.splitlines())))
    assert not (tmp_path / "memory:").exists()


def test_a_copy_that_fails_is_made_good_without_doubling_events(tmp_path):
    pytest.importorskip("fsspec")
    exporter = foldmon.TensorBoardExporter("memory://bucket/again")
    exporter.write([probe(0)])
    put, exporter._mirror.put = exporter._mirror.put, None
    for _ in range(2):
        with pytest.raises(TypeError):
            exporter.write([probe(1), probe(2)])
    exporter._mirror.put = put
    exporter.write([probe(1), probe(2)])
    assert shown(exporter.folder) == [0, 1, 2]
    [file] = exporter.folder.glob("events.*")
    import fsspec

    assert fsspec.filesystem("memory").cat(f"/bucket/again/foldmon/{file.name}") == file.read_bytes()
    exporter.close()


@pytest.mark.parametrize("address", ["nothing://bucket/run", "nothing://"])
def test_an_address_that_nothing_reaches_is_refused_in_words(mlp, held_out, address, monkeypatch):
    with pytest.raises(ValueError, match="give a folder of this machine"):
        watched(mlp, held_out, log_dir=address)
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(ValueError, match="install fsspec"):
        resolve(None, "memory://bucket/run")
    with pytest.raises(ValueError, match="a journal is a file of this machine"):
        foldmon.JSONLExporter("s3://bucket/journal.jsonl")
