import json
import os
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from tensorboard.plugins import base_plugin
from werkzeug.test import Client

from foldmon.exporters.tensorboard import TensorBoardExporter
from foldmon.views.tensorboard import plugin as plugin_module
from foldmon.views.tensorboard.entry import FoldingLoader
from foldmon.views.tensorboard.plugin import FoldingPlugin
from tests.views import journals
from tests.views.server import tensorboard


@pytest.fixture
def logdir(tmp_path):
    root = tmp_path / "logs"
    journals.write(root / "a" / "foldmon" / "journal.jsonl", journals.training(4, 3))
    journals.write(root / "b & <i>c</i>" / "foldmon" / "journal.jsonl", journals.training(3, 3))
    return root


@pytest.fixture
def ask(logdir):
    plugin = FoldingPlugin(base_plugin.TBContext(logdir=str(logdir)))
    apps = plugin.get_plugin_apps()

    def get(route, **query):
        answer = Client(apps[route]).get(route, query_string=query)
        return answer.status_code, answer.get_json() if answer.is_json else answer.get_data(as_text=True)

    get("/runs")
    return get


def test_the_entry_point_names_the_loader():
    text = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    named = re.search(r'tensorboard_plugins]\nfoldmon = "(.+):FoldingLoader"', text)
    assert named is not None
    assert import_module(named[1]).FoldingLoader is FoldingLoader


def test_the_loader_imports_no_torch_before_it_loads():
    code = (
        "import sys; from foldmon.views.tensorboard import entry; "
        "assert not {'torch', 'numpy', 'yaml'} & set(sys.modules); entry.FoldingLoader()"
    )
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=True)


def test_the_runs_have_tensorboards_names(ask, logdir):
    status, answer = ask("/runs")
    assert status == 200
    assert answer["logdir"] == str(logdir)
    assert answer["runs"] == [
        {"name": "a/foldmon", "label": "a"},
        {"name": "b & <i>c</i>/foldmon", "label": "b & <i>c</i>"},
    ]


def test_data_come_whole_and_then_only_what_is_new(ask, logdir):
    _, whole = ask("/data", run="a/foldmon")
    assert whole["from"] == 0
    assert whole["columns"]["step"] == [0, 50, 100, 150]
    more = journals.training(6, 3)[5:]
    with (logdir / "a/foldmon/journal.jsonl").open("a") as file:
        file.writelines(json.dumps(record) + "\n" for record in more)
    _, piece = ask("/data", run="a/foldmon", version=whole["version"], stable=whole["stable"])
    assert piece["from"] == 4
    assert piece["columns"]["step"] == [200, 250]


def test_a_probe_comes_with_its_class_pairs(ask):
    ask("/data", run="a/foldmon")
    status, probe = ask("/probe", run="a/foldmon", seq=2)
    assert status == 200
    assert probe["class_matrix"][0][0] is None
    assert len(probe["class_names"]) == len(probe["class_matrix"])


@pytest.mark.parametrize("run", ["", "../secret", "/etc", "a/foldmon/../../secret", "a\\foldmon", "a"])
def test_only_runs_that_were_found_can_be_asked_for(ask, logdir, run):
    journals.write(logdir.parent / "secret" / "journal.jsonl", journals.training(2, 2))
    assert ask("/data", run=run) == (404, {"error": "no such run"})
    assert ask("/probe", run=run, seq=1)[0] == 404


def test_links_out_of_the_logdir_are_not_followed(ask, logdir):
    outside = journals.write(logdir.parent / "secret" / "journal.jsonl", journals.training(2, 2))
    (logdir / "linked").symlink_to(outside.parent)
    (logdir / "d").mkdir()
    (logdir / "d" / "journal.jsonl").symlink_to(outside)
    _, answer = ask("/runs")
    assert len(answer["runs"]) == 2


def test_odd_questions_get_an_answer(ask):
    assert ask("/data", run="a/foldmon", version="x", stable="-7")[1]["from"] == 0
    assert ask("/probe", run="a/foldmon", seq="x")[0] == 404
    assert ask("/probe", run="a/foldmon", seq=10**9)[0] == 404


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass only where a test lets them."""
    now = [1000.0]
    monkeypatch.setattr(plugin_module.time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def listed(monkeypatch):
    """The folders that were listed, in order."""
    folders, scandir = [], os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: folders.append(os.fspath(path)) or scandir(path))
    return folders


def test_the_tab_is_active_within_a_minute_of_the_first_journal(tmp_path, clock):
    plugin = FoldingPlugin(base_plugin.TBContext(logdir=str(tmp_path)))
    assert not plugin.is_active()
    journals.write(tmp_path / "foldmon" / "journal.jsonl", [journals.start()])
    clock[0] += 60
    assert plugin.is_active()
    assert not FoldingPlugin(base_plugin.TBContext(logdir=None)).is_active()


def test_polls_of_a_large_folder_without_a_journal_cost_next_to_nothing(tmp_path, clock, listed):
    for i in range(100):
        (tmp_path / f"run{i}").mkdir()
        for j in range(200):
            (tmp_path / f"run{i}" / f"checkpoint{j}").touch()
    plugin = FoldingPlugin(base_plugin.TBContext(logdir=str(tmp_path)))
    for _ in range(600):  # ten minutes of polls
        assert not plugin.is_active()
        clock[0] += 1
    assert len(listed) == 10 * 101


def test_a_look_ends_with_its_time_and_the_next_goes_on_from_there(tmp_path, clock, monkeypatch, listed):
    for i in range(9):
        (tmp_path / f"run{i}").mkdir()
    scandir = os.scandir

    def slow(path):
        clock[0] += 0.2
        return scandir(path)

    monkeypatch.setattr(os, "scandir", slow)
    plugin = FoldingPlugin(base_plugin.TBContext(logdir=str(tmp_path)))
    places = []
    for _ in range(4):
        assert not plugin.is_active()
        places.append(len(listed))
        clock[0] += 60
    assert places == [3, 6, 9, 10]
    assert len(set(listed)) == 10


def test_a_look_stops_at_the_first_journal_and_none_follows(tmp_path, clock, listed):
    for name in "abc":
        journals.write(tmp_path / name / "journal.jsonl", [journals.start()])
    plugin = FoldingPlugin(base_plugin.TBContext(logdir=str(tmp_path)))
    for _ in range(5):
        assert plugin.is_active()
        clock[0] += 60
    assert len(listed) == 2


def test_the_tab_itself_always_looks(tmp_path, clock):
    plugin = FoldingPlugin(base_plugin.TBContext(logdir=str(tmp_path)))
    assert not plugin.is_active()
    journals.write(tmp_path / "a" / "foldmon" / "journal.jsonl", [journals.start()])
    assert len(Client(plugin.get_plugin_apps()["/runs"]).get().get_json()["runs"]) == 1
    assert plugin.is_active()


def test_a_linked_journal_activates_no_tab_since_it_is_not_shown(tmp_path):
    outside = journals.write(tmp_path / "secret" / "journal.jsonl", [journals.start()])
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "journal.jsonl").symlink_to(outside)
    assert not FoldingPlugin(base_plugin.TBContext(logdir=str(tmp_path / "logs"))).is_active()


@pytest.mark.parametrize("fast", ["true", "false"])
def test_the_exporters_events_activate_the_tab_without_a_look(tmp_path, fast):
    logdir = tmp_path / "logs"
    exporter = TensorBoardExporter(logdir)
    exporter.write(journals.training(2, 2))
    exporter.close()
    assert not list(logdir.rglob("journal.jsonl"))
    with tensorboard(logdir, tmp_path / "tensorboard", f"--load_fast={fast}") as server:
        server.wait_for(lambda: server.get("/data/plugins_listing")["foldmon"]["enabled"])
    with tensorboard(tmp_path / "none", tmp_path / "tensorboard", f"--load_fast={fast}") as server:
        assert not server.get("/data/plugins_listing")["foldmon"]["enabled"]


def test_an_error_in_the_plugin_leaves_tensorboard_without_it(monkeypatch, caplog):
    monkeypatch.setattr(FoldingPlugin, "__init__", lambda self, context: 1 / 0)
    assert FoldingLoader().load(base_plugin.TBContext(logdir="")) is None
    assert "no Folding tab: ZeroDivisionError" in caplog.text


def test_a_plugin_that_cannot_be_imported_leaves_tensorboard_without_it(monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "foldmon.views.tensorboard.plugin", None)
    assert FoldingLoader().load(base_plugin.TBContext(logdir="")) is None
    assert "no Folding tab" in caplog.text


def test_every_module_of_the_page_is_served(ask):
    static = Path(import_module("foldmon.views.tensorboard.plugin").__file__).parents[1] / "static"
    for path in static.glob("*.js"):
        status, text = ask(f"/{path.name}")
        assert status == 200
        assert text == path.read_text("utf-8")
