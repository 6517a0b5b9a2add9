"""A run on a page while its journal is written, ended, resumed, damaged and replaced."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from rich.text import Text

from foldmon.views.live import live
from foldmon.views.notebook import history_html
from foldmon.views.run.reading import Run
from foldmon.views.run.rows import Row, Rows, finite
from foldmon.views.run.scores import users_scores
from foldmon.views.run.words import in_words
from foldmon.views.terminal import picture
from foldmon.views.text import sparkline
from tests.views import journals


def run_of(path, *records) -> Run:
    run = Run(journals.write(path / "journal.jsonl", list(records)), "run", "run")
    run.refresh()
    return run


def later(records, by: int):
    """The probes of a training, at later steps."""
    return [records[0], *({**record, "step": record["step"] + by} for record in records[1:])]


def test_of_a_journal_that_was_replaced_nothing_is_left(tmp_path):
    old = journals.training(8, 2)
    run = run_of(tmp_path, *old, {"kind": "letter", "seq": 1}, {"kind": "probe", "seq": 2}, journals.end(old))
    assert (run.payload()["state"], len(run.problems())) == ("ended", 1)
    version = run.rows.version
    new = later(journals.training(2, 3, seed=1), 10_000)
    journals.write(run.path, new)
    run.refresh()
    payload = run.payload(version, stable=8)
    assert payload["columns"]["step"] == [record["step"] for record in new[1:]]
    assert (payload["from"], payload["total"], payload["state"]) == (0, 2, "running")
    assert payload["layers"] == new[1]["layers"]
    assert payload["problems"] == []
    assert payload["start"]["sites"] == new[0]["coverage"]["sites"]


def test_a_probe_after_the_end_is_of_a_run_that_goes_on(tmp_path):
    records = journals.training(3, 2)
    run = run_of(tmp_path, *records[:2], journals.end(records), records[2])
    assert run.payload()["state"] == "running"
    assert run.payload()["last_ms"] == records[2]["time_ms"]


def test_the_time_of_the_end_is_the_latest(tmp_path):
    records = journals.training(3, 2)
    end = journals.end(records) | {"time_ms": records[-1]["time_ms"] + 5}
    assert run_of(tmp_path, *records, end).payload()["last_ms"] == end["time_ms"]
    (tmp_path / "other").mkdir()
    assert run_of(tmp_path / "other", records[0]).payload()["last_ms"] == records[0]["time_ms"]


def test_rows_of_another_version_are_all_sent_again(tmp_path):
    records = journals.training(6, 2)
    run = run_of(tmp_path, *records)
    known = run.payload()["version"]
    assert run.payload(known, stable=4)["from"] == 4
    assert run.payload(known - 1, stable=4)["from"] == 0
    assert run.payload(known, stable=7)["from"] == 0


def test_rows_that_a_later_probe_may_take_away_are_not_called_stable(tmp_path):
    records = journals.training(11, 2)
    run = Run(journals.write(tmp_path / "journal.jsonl", records), "run", "run")
    run.rows.__init__(most=4)
    run.refresh()
    kept = [row.step for row in run.rows.kept]
    assert run.rows.stride == 4
    assert kept == [records[place]["step"] for place in (1, 5, 9, 11)]
    assert run.rows.stable == 3


def test_what_lies_where_a_probe_was_is_not_taken_for_it(tmp_path):
    """The journal was written anew, since the page was drawn."""
    records = journals.training(3, 2)
    run = run_of(tmp_path, *records)
    journals.write(run.path, [records[0], *({**record, "seq": record["seq"] + 50} for record in records[1:])])
    assert run.probe(1) is None


def test_lines_that_differ_in_length_are_no_probe(tmp_path):
    records = journals.training(3, 2)
    broken = [records[2] | {"cumulative": [0.1]}, records[3] | {"folding": [0.1, 0.2, 0.3]}]
    run = run_of(tmp_path, *records[:2], *broken)
    assert run.payload()["columns"]["step"] == [records[1]["step"]]
    assert "2 probes lack" in run.problems()[0]


def test_a_replaced_journal_of_as_many_probes_is_followed_line_by_line(tmp_path, monkeypatch):
    first, second = journals.training(2, 2), later(journals.training(2, 2, seed=1), 7)
    longer = {"kind": "letter", "seq": 9, "text": "x" * 999}
    path = journals.write(tmp_path / "journal.jsonl", [*first, longer])

    def replace(_: float) -> None:
        journals.write(path, [*second, journals.end(second)])

    monkeypatch.setattr("foldmon.views.live.time.sleep", replace)
    out = io.StringIO()
    live(path, stream=out)
    lines = [line for line in out.getvalue().splitlines() if line.startswith("step")]
    steps = [int(line.split()[1].replace(",", "")) for line in lines]
    assert steps == [record["step"] for record in (*first[1:], *second[1:])]


@pytest.mark.parametrize(("value", "kept"), [(1.5, 1.5), (float("nan"), None), (float("-inf"), None), (3, 3)])
def test_what_json_cannot_hold_is_nothing(value, kept):
    assert finite(value) == kept
    assert json.loads(json.dumps(finite(value), allow_nan=False)) == kept


def test_accuracies_are_shares_where_none_is_above_one():
    assert users_scores("user_accuracy", [{"val_acc": 0.5}, {"val_acc": 1.0}]) == [0.5, 1.0]
    assert users_scores("user_accuracy", [{"val_acc": 50.0}, {"val_acc": 1.0}]) == [0.5, 0.01]


def test_a_curve_begins_with_the_first_step_that_it_shows():
    assert sparkline([100, 101, 102, 103], [0.0, 1.0, None, 2.0], 10) == "▁▅ █"
    assert sparkline([1000, 1020, 1099], [0.0, 4.0, 8.0], 10) == "▁▁▅▅▅▅▅▅▅█"


def test_a_run_in_words_says_where_each_score_was_best_and_how_far_the_end_lies_above(tmp_path):
    records = journals.training(4, 2)
    scores = [(0.5, 0.9), (0.8, 0.4), (0.9, 0.5), (0.7, 0.6)]
    for record, (accuracy, loss), changes in zip(records[1:], scores, [3.0, 1.0, 2.0, 1.5], strict=True):
        record["held_out"] |= {"accuracy": accuracy, "loss": loss}
        record["decision"]["changes"] = changes
    said = " ".join(in_words(run_of(tmp_path, *records)))
    assert "Held-out accuracy ended at 70.0%" in said
    assert "it was best at step 100 (90.0%)" in said
    assert "it was best at step 50 (0.4000)" in said
    assert "changed least at step 50 (1.00; the end lies 50% above)" in said


def test_a_severe_warning_is_red_and_a_mild_one_yellow(tmp_path):
    records = journals.training(3, 2)
    for record, severity in zip(records[2:], (1, 2), strict=True):
        record["warning"]["event"] = {"step": record["step"], "severity": severity, "reasons": ["it rose"]}
    shown = picture(run_of(tmp_path, *records), 100, 30).renderables
    told = [text.style for text in shown if isinstance(text, Text) and text.plain.startswith("▲")]
    assert told == ["yellow", "red"]


def test_the_page_is_told_where_rows_that_it_has_are_no_longer_those_of_now():
    rows = Rows(most=4)
    versions = []
    for place, step in enumerate([0, 1, 2, 3, 4, 5, 3]):
        rows.add(Row(place, 0, {"step": step}, {}, None, (), np.zeros(0), np.zeros(0)))
        versions.append(rows.version)
    begun = versions[0]
    assert [version - begun for version in versions] == [0, 0, 0, 0, 1, 1, 2]
    rows.clear()
    assert rows.version == begun + 3


def test_only_shares_are_called_estimates(tmp_path):
    records = journals.training(3, 2)
    assert "took turns" not in " ".join(in_words(run_of(tmp_path, *records)))
    records[2]["measured"] = [0, 1, 2]
    records[2]["pairs"] = len(records[2]["network_r1"])
    (tmp_path / "other").mkdir()
    assert "The 64 pairs took turns" in " ".join(in_words(run_of(tmp_path / "other", *records)))


def test_the_scale_of_held_out_scores_in_a_notebook_is_fitted_to_them():
    """From 90 to 93% are a course; on a scale from 0 they would be a flat line."""
    records = journals.training(12, 2)
    for place, record in enumerate(records[1:]):
        record["held_out"] |= {"accuracy": 0.9 + 0.003 * place, "accuracy_interval": [0.8, 0.99]}
    chart = history_html(records).partition("heldout_accuracy over steps")[2].partition("</svg>")[0]
    points = chart.partition('<polyline points="')[2].partition('"')[0].split()
    heights = [float(point.split(",")[1]) for point in points]
    assert heights == sorted(heights, reverse=True)
    assert heights[2] - heights[-1] > 40
