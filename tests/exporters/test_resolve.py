from __future__ import annotations

from pathlib import Path

import pytest

import foldmon
from foldmon.exporters.resolve import resolve


def names(exporters) -> list[str]:
    return [exporter.name for exporter in exporters]


def test_the_default_is_a_journal_tensorboard_and_the_console():
    journal, exporters = resolve(None, None)
    assert names(exporters) == ["tensorboard", "console"]
    assert exporters[0].folder == journal.path.parent
    assert journal.path.relative_to(Path.cwd()).parts[0] == "runs"


def test_the_journal_is_beside_the_events(tmp_path):
    board = foldmon.TensorBoardExporter(tmp_path / "exp")
    journal, _ = resolve([board], None)
    assert journal.path == tmp_path / "exp" / "foldmon" / "journal.jsonl"


def test_a_given_journal_is_the_journal(tmp_path):
    own = foldmon.JSONLExporter(tmp_path / "mine.jsonl")
    journal, exporters = resolve([own, "console"], None)
    assert journal is own
    assert names(exporters) == ["console"]


def test_one_word_is_enough(tmp_path):
    _, exporters = resolve("tensorboard", tmp_path)
    assert exporters[0].folder == tmp_path / "foldmon"


def test_an_unknown_word_names_the_nearest():
    with pytest.raises(ValueError, match="did you mean 'mlflow'"):
        resolve(["mflow"], None)
