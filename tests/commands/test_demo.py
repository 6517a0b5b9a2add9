"""The demo, shortened."""

from __future__ import annotations

import shutil
from pathlib import Path

import mlflow
import pytest

from foldmon.commands import demo
from foldmon.journal.following import read_journal


def test_the_demo_leaves_dashboards_a_plot_and_the_commands(capsys, mlflow_template):
    Path("demo").mkdir()
    shutil.copy(mlflow_template, "demo/mlflow.db")
    plot = demo.run("demo", epochs=4)
    out = capsys.readouterr().out
    assert plot.stat().st_size > 10_000
    assert "tensorboard --logdir demo" in out
    assert "mlflow ui --backend-store-uri sqlite:///" in out
    journals = sorted(Path("demo").glob("*/*/foldmon/journal.jsonl"))
    assert [path.parts[2] for path in journals] == ["healthy", "noisy-labels"]
    for path in journals:
        *_, last = [r for r in read_journal(path) if r["kind"] == "probe"]
        assert last["step"] == 80
        assert list(path.parent.glob("events.out.tfevents.*"))
        assert f"{last['phi']:.4f}" in out
    client = mlflow.MlflowClient(f"sqlite:///{Path('demo/mlflow.db').resolve()}")
    runs = client.search_runs([client.get_experiment_by_name("foldmon demo").experiment_id])
    assert len(runs) == 2
    assert all("folding/network" in run.data.metrics for run in runs)


def test_missing_packages_are_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"sklearn.*pip install 'foldmon\[demo\]'"):
        demo.run()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_noisy_twin_is_warned_of_and_the_healthy_one_is_not(capsys):
    """Of one seed; ``python -m tests.benchmarks.demo_seeds`` runs twenty."""
    demo.run("demo", mlflow=False, quiet=True, seed=1)
    events = {}
    for path in sorted(Path("demo").glob("*/*/foldmon/journal.jsonl")):
        probes = [r for r in read_journal(path) if r["kind"] == "probe"]
        events[path.parts[2]] = [r["warning"]["event"] for r in probes if r["warning"]["event"]]
    assert events["healthy"] == []
    first = events["noisy-labels"][0]
    assert 200 < first["step"] < 1100
    assert first["reasons"][0].startswith("Held-out accuracy is ")
    assert first["reasons"][0] in capsys.readouterr().out
