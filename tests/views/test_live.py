import io
import json
import re

import pytest

from foldmon.views import live as live_module
from foldmon.views.live import live, picture
from foldmon.views.run.run import Run
from foldmon.views.text import bar, sparkline
from tests.views import journals


class Terminal(io.StringIO):
    def isatty(self):
        return True


def _plain(text):
    return re.sub(r"\x1b\[[?0-9;]*[A-Za-z]", "", text)


def test_without_a_terminal_every_probe_is_a_line(tmp_path):
    records = journals.training(12, 3, memorises=True)
    path = journals.write(tmp_path / "journal.jsonl", [*records, journals.end(records)])
    out = io.StringIO()
    live(path, stream=out)
    lines = out.getvalue().splitlines()
    assert len(lines) == 13
    for line, record in zip(lines, records[1:], strict=False):
        assert f"{record['phi']:.4f}" in line
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
    lines = picture(run, width, height)
    assert len(lines) <= height
    bars = [line for line in map(_plain, lines[2:]) if "." in line and "relu" in line]
    assert bars
    assert all(len(line) <= width for line in bars)


def test_a_run_without_probes_says_why(tmp_path):
    run = Run(journals.write(tmp_path / "journal.jsonl", [journals.start()]), "run", "run")
    run.refresh()
    assert "No probe yet" in "\n".join(picture(run, 80, 24))


def test_sparklines_and_bars():
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7], 8) == "▁▂▃▄▅▆▇█"
    assert len(sparkline(list(range(1000)), 60)) <= 60
    assert sparkline([None, float("nan"), 1.0], 5) == "  █"
    assert sparkline([], 5) == ""
    assert bar(float("nan"), 1.0, 4) == "    "
    assert bar(2.0, 1.0, 4) == "████"


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
