import io
import json
import re
import sys

import pytest
from rich.console import Console

from foldmon.views import live as live_module
from foldmon.views.live import live
from foldmon.views.run.reading import Run
from foldmon.views.terminal import picture
from foldmon.views.text import sparkline
from tests.views import journals


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture(autouse=True)
def terminal(monkeypatch):
    for name, value in (("TERM", "xterm"), ("COLUMNS", "100"), ("LINES", "30")):
        monkeypatch.setenv(name, value)


def _drawn(run, width, height):
    """The lines of the picture, without colours."""
    console = Console(file=io.StringIO(), width=width, height=height)
    console.print(picture(run, width, height))
    return console.file.getvalue().splitlines()


def test_without_a_terminal_every_probe_is_a_line(tmp_path):
    records = journals.training(12, 3, memorises=True)
    path = journals.write(tmp_path / "journal.jsonl", [*records, journals.end(records)])
    out = io.StringIO()
    live(path, stream=out)
    lines = out.getvalue().splitlines()
    assert len(lines) == 13
    for line, record in zip(lines, records[1:], strict=False):
        assert f"{record['phi']:.4f}" in line
        assert f"held-out accuracy {record['held_out']['accuracy']:.1%}, loss" in line
    assert sum("WARNING 1" in line for line in lines) == 1
    assert lines[-1] == "ended"
    assert "\x1b" not in out.getvalue()


def test_it_follows_a_journal_that_grows(tmp_path, monkeypatch):
    records = journals.training(5, 2)
    path = tmp_path / "run" / "journal.jsonl"
    pieces = [records[:1], records[:3], [*records, journals.end(records)]]

    def sleep(_):
        journals.write(path, pieces.pop(0))

    monkeypatch.setattr(live_module.time, "sleep", sleep)
    out = io.StringIO()
    live(path, stream=out)
    steps = re.findall(r"step +([\d,]+)", out.getvalue())
    assert steps == ["0", "50", "100", "150", "200"]


@pytest.mark.parametrize(("given", "made"), [("run", "run/foldmon"), ("run/foldmon", "run/foldmon")])
def test_a_run_that_has_not_begun_is_waited_for(tmp_path, monkeypatch, given, made):
    records = journals.training(2, 2)

    def sleep(_):
        journals.write(tmp_path / made / "journal.jsonl", [*records, journals.end(records)])

    monkeypatch.setattr(live_module.time, "sleep", sleep)
    out = io.StringIO()
    live(tmp_path / given, stream=out)
    assert out.getvalue().endswith("ended\n")


def test_the_picture_has_curves_of_held_out_scores_where_they_are_known(tmp_path):
    records = journals.training(60, 3, memorises=True)
    shown = []
    for held_out in ({}, {"held_out": None}):
        journal = journals.write(tmp_path / "journal.jsonl", [record | held_out for record in records])
        run = Run(journal, "run", "run")
        run.refresh()
        shown.append(_drawn(run, 100, 24))
    [accuracy] = [line for line in shown[0] if line.startswith("accuracy")]
    assert f"{records[-1]['held_out']['accuracy']:.1%} held-out" in accuracy
    assert "▁" in accuracy
    assert any(line.startswith("loss") for line in shown[0])
    assert not any(line.startswith(("accuracy", "loss")) for line in shown[1])


def test_a_line_and_the_picture_say_how_many_pairs_were_measured(tmp_path):
    records = journals.rotating(12)
    path = journals.write(tmp_path / "journal.jsonl", [*records, journals.end(records)])
    out = io.StringIO()
    live(path, stream=out)
    assert out.getvalue().count("(5 of 64 pairs)") == 11
    run = Run(journals.write(tmp_path / "journal.jsonl", records[:-1]), "run", "run")
    run.refresh()
    assert "sampled, 5 of 64 pairs" in _drawn(run, 100, 24)[1]


def test_on_a_terminal_nothing_is_drawn_twice_and_every_probe_is(tmp_path, monkeypatch):
    records = journals.training(4, 2)
    path = journals.write(tmp_path / "journal.jsonl", records[:2])
    pieces = [records[:2], records[:3], records[:3], [*records, journals.end(records)]]
    monkeypatch.setattr(live_module.time, "sleep", lambda _: journals.write(path, pieces.pop(0)))
    out = Terminal()
    live(path, stream=out)
    before, _ = out.getvalue().split("\x1b[?1049l")
    assert re.findall(r"step ([\d,]+) ", before) == ["0", "50", "150"]


def test_on_a_terminal_the_last_picture_stays(tmp_path):
    records = journals.training(12, 3)
    path = journals.write(tmp_path / "journal.jsonl", [*records, journals.end(records)])
    out = Terminal()
    live(path, stream=out)
    before, after = out.getvalue().split("\x1b[?1049l")
    for text in (before, after):
        assert f"{records[-1]['phi']:.4f}" in text
        assert "ended" in text


def test_ctrl_c_leaves_the_terminal_as_it_was(tmp_path, monkeypatch):
    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(live_module.time, "sleep", interrupt)
    out = Terminal()
    live(journals.write(tmp_path / "journal.jsonl", journals.training(3, 2)), stream=out)
    assert out.getvalue().count("\x1b[?25h\x1b[?1049l") == 1


@pytest.mark.parametrize(("width", "height"), [(80, 24), (40, 12), (200, 60)])
def test_the_picture_fits_the_terminal(tmp_path, width, height):
    path = journals.write(tmp_path / "journal.jsonl", journals.training(300, 200, memorises=True))
    run = Run(path, "run", "run")
    run.refresh()
    lines = _drawn(run, width, height)
    assert len(lines) <= height
    bars = [line for line in lines[2:] if "." in line and "relu" in line]
    assert bars
    assert all(len(line) <= width for line in bars)


def test_a_run_without_probes_says_why(tmp_path):
    run = Run(journals.write(tmp_path / "journal.jsonl", [journals.start()]), "run", "run")
    run.refresh()
    assert "No probe yet" in "\n".join(_drawn(run, 80, 24))


def test_bars_are_as_long_as_the_layers_fold_and_one_without_a_number_is_empty(tmp_path):
    records = journals.training(1, 4)
    records[1]["folding"] = [0.1, 0.2, float("nan"), 0.4]
    run = Run(journals.write(tmp_path / "journal.jsonl", records), "run", "run")
    run.refresh()
    bars = [line.count("█") for line in _drawn(run, 100, 24)[-4:]]
    assert bars[3] > 40
    assert bars == pytest.approx([bars[3] / 4, bars[3] / 2, 0, bars[3]], abs=1)


@pytest.mark.parametrize("is_terminal", [True, False])
def test_text_of_a_journal_cannot_steer_the_terminal(tmp_path, is_terminal):
    records = journals.training(3, 2)
    evil = "\x1b[2J\x9b1A[red]re\rlu[/red]"
    for record in records[1:]:
        record["layers"] = [evil, "b"]
    records[-1]["warning"] = {"level": 1, "event": {"step": 9, "severity": 1, "reasons": [evil]}}
    path = journals.write(tmp_path / "\x1b[3mrun" / "journal.jsonl", [*records, journals.end(records)])
    out = Terminal() if is_terminal else io.StringIO()
    live(path, stream=out)
    text = out.getvalue()
    assert text.count("?[2J?1A[red]re?lu[/red]") >= (2 if is_terminal else 1)
    assert not re.search(r"\x1b\[2J|\x1b\[3m|\x9b|\r", text)


def test_rich_is_needed_on_a_terminal_only(tmp_path, monkeypatch):
    records = journals.training(3, 2)
    path = journals.write(tmp_path / "journal.jsonl", [*records, journals.end(records)])
    for name in ("rich", "rich.console", "rich.live", "foldmon.views.terminal"):
        monkeypatch.setitem(sys.modules, name, None)
    out = io.StringIO()
    live(path, stream=out)
    assert len(out.getvalue().splitlines()) == 4
    with pytest.raises(ImportError, match=r"pip install 'foldmon\[live\]'"):
        live(path, stream=Terminal())


def test_a_terminal_that_cannot_redraw_gets_lines(tmp_path, monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    records = journals.training(3, 2)
    out = Terminal()
    live(journals.write(tmp_path / "journal.jsonl", [*records, journals.end(records)]), stream=out)
    assert len(out.getvalue().splitlines()) == 4
    assert "\x1b" not in out.getvalue()


def test_sparklines():
    assert sparkline(range(8), [0, 1, 2, 3, 4, 5, 6, 7], 8) == "▁▂▃▄▅▆▇█"
    assert len(sparkline(range(1000), list(range(1000)), 60)) <= 60
    assert sparkline(range(3), [None, float("nan"), 1.0], 5) == "  █"


def test_a_sparkline_goes_by_steps_and_what_is_high_at_the_start_is_full():
    """Half of the probes lie in the first tenth of the steps, and fold ten times as much."""
    steps = [*range(100), *range(100, 1001, 9)]
    line = sparkline(steps, [5.0 if step < 100 else 0.5 * step / 1000 for step in steps], 50)
    assert len(line) == 50
    assert 4 <= line.count("█", 0, 6) <= 5
    assert line[10] == "▂"
    assert line[-1] == "█"
    assert list(line[6:]) == sorted(line[6:])


def test_a_replaced_journal_is_shown_from_its_beginning(tmp_path, monkeypatch):
    first, second = journals.training(6, 2), journals.training(2, 2, seed=1)
    path = journals.write(tmp_path / "journal.jsonl", first)
    monkeypatch.setattr(
        live_module.time, "sleep", lambda _: journals.write(path, [*second, journals.end(second)])
    )
    out = io.StringIO()
    live(path, stream=out)
    assert f"{second[1]['phi']:.4f}" in out.getvalue()
    assert json.loads(path.read_text().splitlines()[-1])["kind"] == "end"
