"""Which exporters go where a framework's own loggers go."""

from __future__ import annotations

import shutil

import mlflow
import pytest

from foldmon.exporters.mlflow import MLflowExporter
from foldmon.integrations.trackers import exporters_or_usual


@pytest.fixture
def active(tmp_path, mlflow_template):
    """An MLflow run that is active in this thread."""
    before = mlflow.get_tracking_uri()
    shutil.copy(mlflow_template, tmp_path / "mlflow.db")
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path / 'mlflow.db'}")
    with mlflow.start_run() as run:
        yield run.info.run_id
    mlflow.set_tracking_uri(before)


class Tracker:
    def __init__(self, run_id: str) -> None:
        self.run_id = run_id


class Derived(Tracker):
    """As users derive from loggers of a framework."""


MAKERS = {"Tracker": lambda found: MLflowExporter(found.run_id)}


def names(found) -> list[str]:
    return [getattr(exporter, "name", exporter) for exporter in found]


def test_without_trackers_tensorboard_and_the_console() -> None:
    assert exporters_or_usual([], MAKERS) == ["tensorboard", "console"]
    assert exporters_or_usual([object(), None], MAKERS) == ["tensorboard", "console"]


def test_a_run_that_no_tracker_knows_of_gets_the_values(active) -> None:
    assert exporters_or_usual([], MAKERS) == ["tensorboard", "mlflow", "console"]


@pytest.mark.parametrize("tracker", [Tracker, Derived])
def test_a_run_that_a_tracker_logs_to_gets_them_once(active, tracker) -> None:
    found = exporters_or_usual([tracker(active)], MAKERS)
    assert names(found) == ["mlflow", "console"]
    assert found[0].run_id == active
