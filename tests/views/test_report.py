import csv
import json
import re
import sys
from collections import Counter

import pytest

from foldmon.views import page as report
from foldmon.views.page import write_report
from tests.views import journals


@pytest.fixture
def two_runs(tmp_path):
    clean, noisy = journals.training(20, 4, seed=1), journals.training(20, 4, seed=2, memorises=True)
    noisy[5]["logged"] = {"val_loss": 0.25}
    return {
        "clean": (_write(tmp_path, "clean", [*clean, journals.end(clean)]), clean),
        "noisy": (_write(tmp_path, "noisy", noisy), noisy),
    }


def _write(root, name, records):
    return journals.write(root / name / "foldmon" / "journal.jsonl", records)


def _table(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def _data(page):
    return json.loads(re.search(r'id="foldmon-data">(.*?)</script>', page.read_text(), re.DOTALL)[1])


def test_the_tables_hold_every_number_of_the_journals(two_runs, tmp_path):
    page, probes, layers = write_report([path for path, _ in two_runs.values()], tmp_path / "out" / "r.html")
    assert page.name == "r.html"
    rows = _table(probes)
    for label, (_, records) in two_runs.items():
        mine = [row for row in rows if row["run"] == label]
        assert [float(row["phi"]) for row in mine] == [record["phi"] for record in records[1:]]
        assert [int(row["step"]) for row in mine] == [record["step"] for record in records[1:]]
    assert [row["val_loss"] for row in rows if row["run"] == "noisy"][4] == "0.25"
    assert any("8.4 points below its best" in row["reasons"] for row in rows)
    cells = _table(layers)
    record = two_runs["clean"][1][3]
    mine = [c for c in cells if c["run"] == "clean" and int(c["step"]) == record["step"]]
    assert [c["layer"] for c in mine] == record["layers"]
    assert [float(c["folding"]) for c in mine] == record["folding"]


def test_the_page_needs_nothing_but_itself(two_runs, tmp_path):
    page, *_ = write_report([path for path, _ in two_runs.values()], tmp_path / "r.html")
    text = page.read_text()
    assert not re.search(r'(src|href)="|https?://|^import ', text, re.MULTILINE)
    assert [run["label"] for run in _data(page)["runs"]] == ["clean", "noisy"]


def test_the_words_state_what_happened(two_runs, tmp_path):
    page, *_ = write_report([path for path, _ in two_runs.values()], tmp_path / "r.html")
    text = page.read_text()
    first, last = two_runs["noisy"][1][1], two_runs["noisy"][1][-1]
    assert f"phi began at {first['phi']:.4f} and ended at {last['phi']:.4f}" in text
    assert "There was no warning." in text
    assert "1 warning: step" in text
    best = max(two_runs["noisy"][1][1:], key=lambda record: record["held_out"]["accuracy"])
    assert f"it was best at step {best['step']:,} ({best['held_out']['accuracy']:.1%})" in text
    assert "highest val" not in text
    assert "lowest val_loss" in text


def test_the_words_and_the_table_say_what_was_measured(tmp_path):
    page, table, _ = write_report([_write(tmp_path, "run", journals.rotating(30))], tmp_path / "r.html")
    assert "The 64 pairs took turns, 5 a probe at the median" in page.read_text()
    rows = _table(table)
    assert [row["measured"] for row in rows] == ["5"] * 29 + ["64"]
    assert {row["pairs"] for row in rows} == {"64"}
    assert len(page.read_text()) < 300_000


def test_of_whole_measurements_the_words_say_no_more(two_runs, tmp_path):
    page, *_ = write_report([two_runs["clean"][0]], tmp_path / "r.html")
    assert "took turns" not in page.read_text()


def test_start_best_warning_and_end_are_in_the_page_whole(two_runs, tmp_path, monkeypatch):
    monkeypatch.setattr(report, "_MOST_PROBES", 2)
    page, *_ = write_report([two_runs["noisy"][0]], tmp_path / "r.html")
    records = two_runs["noisy"][1]
    warned = next(r["seq"] for r in records[1:] if r["warning"]["event"])
    seqs = {probe["seq"] for probe in _data(page)["probes"]["0"]}
    assert {1, 5, warned, records[-1]["seq"]} == seqs


def test_a_name_cannot_break_out_of_the_page(tmp_path):
    records = journals.training(2, 2)
    evil = "</script><script>alert(1)</script>"
    for record in records[1:]:
        record["layers"] = [evil, "b"]
    path = journals.write(tmp_path / "journal.jsonl", records)
    page, *_ = write_report([path], tmp_path / "r.html", labels=[evil])
    assert "<script>alert" not in page.read_text()
    assert _data(page)["runs"][0]["layers"][0] == evil


def test_the_modules_of_the_page_share_one_scope():
    names = Counter()
    top_level = re.compile(r"^(?:export )?(?:async )?(?:const|let|function|class) (\w+)", re.MULTILINE)
    modules = report._modules("report")
    for text in modules.values():
        names.update(top_level.findall(text))
    assert [name for name, count in names.items() if count > 1] == []
    others = {path.stem for path in report._STATIC.glob("*.js")} - set(modules)
    assert others == {"index"}


def test_every_module_stands_behind_those_that_it_imports():
    behind = set()
    for name in report._modules("report"):
        needed = re.findall(r'from "\./(\w+)\.js"', (report._STATIC / f"{name}.js").read_text())
        assert set(needed) <= behind
        behind.add(name)
    assert name == "report"


def test_figures_are_written_where_they_are_asked_for(two_runs, tmp_path):
    written = write_report([path for path, _ in two_runs.values()], tmp_path / "r.html", figures=True)
    pictures = [path for path in written if path.suffix == ".png"]
    assert [path.name for path in pictures] == ["r-phi.png", "r-clean.png", "r-noisy.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in pictures)


def test_figures_without_matplotlib_say_what_to_install(two_runs, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r'pip install "foldmon\[plot\]"'):
        write_report([two_runs["clean"][0]], tmp_path / "r.html", figures=True)
    assert not (tmp_path / "r.html").exists()


def test_folders_are_taken_for_the_journal_in_them(two_runs, tmp_path):
    write_report([tmp_path / "clean", tmp_path / "noisy" / "foldmon"], tmp_path / "r.html")
    assert {row["run"] for row in _table(tmp_path / "r.csv")} == {"clean", "noisy"}


def test_a_journal_of_an_older_version_is_reported_as_far_as_it_goes(tmp_path):
    records = journals.training(2, 2)
    for record in records[1:]:
        del record["dead"], record["r1"]
    write_report([_write(tmp_path, "old", records)], tmp_path)
    assert [cell["dead"] for cell in _table(tmp_path / "report-layers.csv")] == [""] * 4


def test_runs_of_one_name_are_told_apart_by_their_folders(tmp_path):
    paths = [_write(tmp_path / folder, "run", journals.training(2, 2)) for folder in "ab"]
    write_report(paths, tmp_path / "r.html")
    assert {row["run"] for row in _table(tmp_path / "r.csv")} == {"a/run", "b/run"}


def test_wrong_arguments_say_what_to_do(tmp_path):
    with pytest.raises(ValueError, match="at least one journal"):
        write_report([], tmp_path / "r.html")
    with pytest.raises(FileNotFoundError, match=r"give a journal\.jsonl, or the log_dir"):
        write_report([tmp_path / "none"], tmp_path / "r.html")
    path = journals.write(tmp_path / "journal.jsonl", journals.training(2, 2))
    with pytest.raises(ValueError, match="2 labels for 1 journals"):
        write_report([path], tmp_path / "r.html", labels=["a", "b"])
    with pytest.raises(ValueError, match="labels must differ"):
        write_report([path, path], tmp_path / "r.html", labels=["a", "a"])
