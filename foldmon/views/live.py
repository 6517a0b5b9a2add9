"""``foldmon live``: a running training in another terminal."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import time
from typing import TextIO

from foldmon.journal.finding import journal_of
from foldmon.views.run.changed import most_changed
from foldmon.views.run.rows import Row
from foldmon.views.run.run import Run
from foldmon.views.text import bar, printable, sparkline

_HOME, _CLEAR_LINE, _CLEAR_BELOW = "\x1b[H", "\x1b[K", "\x1b[J"
_ENTER, _LEAVE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
_BOLD, _DIM, _WARN, _ALARM, _PLAIN = "\x1b[1m", "\x1b[2m", "\x1b[33m", "\x1b[31m", "\x1b[0m"
_LABEL = 12


def live(
    path: str | os.PathLike[str],
    *,
    interval: float = 1.0,
    stream: TextIO | None = None,
) -> None:
    """Show a run until its journal ends, or until Ctrl-C.

    On a terminal the picture is redrawn in place, and its last state stays on the screen; elsewhere every
    probe is one line, so that the output can go into a file or a pipe. A journal that does not exist yet is
    waited for.

    Args:
        path: the journal, or a folder that holds one.
        interval: seconds between looks at the file.
        stream: where to write; None takes standard output.

    Example:
        >>> import pathlib, tempfile
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "journal.jsonl"
        >>> _ = path.write_text('{"kind": "start", "seq": 0}\\n{"kind": "end", "seq": 1}\\n')
        >>> live(path)
        No probe yet: training has started, and the first measurement is on its way.
        ended
    """
    out = sys.stdout if stream is None else stream
    run = Run(_journal(path), "run", str(path))
    # Ctrl-C is how one leaves.
    with contextlib.suppress(KeyboardInterrupt):
        (_screen if out.isatty() else _lines)(run, out, interval)


def _journal(path: str | os.PathLike[str]) -> str:
    """The journal of a folder; the path as given where neither is there yet."""
    try:
        return str(journal_of(path))
    except FileNotFoundError:
        return os.path.join(path, "foldmon", "journal.jsonl") if os.path.isdir(path) else str(path)


def _screen(run: Run, out: TextIO, interval: float) -> None:
    out.write(_ENTER)
    try:
        while True:
            run.refresh()
            width, height = shutil.get_terminal_size()
            lines = picture(run, width, height - 1)
            out.write(_HOME + "".join(f"{line}{_CLEAR_LINE}\n" for line in lines) + _CLEAR_BELOW)
            out.flush()
            if run.end is not None:
                break
            time.sleep(interval)
    finally:
        out.write(_LEAVE)
        # The other screen is gone with its picture: leave the last one behind.
        out.write("\n".join(picture(run, *shutil.get_terminal_size())) + "\n")
        out.flush()


def _lines(run: Run, out: TextIO, interval: float) -> None:
    shown, said = -1, False
    while True:
        run.refresh()
        if run.rows.total <= shown:
            shown = -1  # another journal took its place
        for row in run.rows.kept:
            if row.index > shown:
                shown = row.index
                print(line_of(row), file=out, flush=True)
        if not run.rows.kept and not said:
            said = True
            print(*run.problems(), sep="\n", file=out, flush=True)
        if run.end is not None:
            print("ended", file=out, flush=True)
            return
        time.sleep(interval)


def line_of(row: Row) -> str:
    """A probe as one line."""
    values = row.values
    text = f"step {row.step:>9,}  phi {_number(values['phi'])} {_interval(row)}"
    if values["changes"] is not None:
        text += f"  decision {values['changes']:.2f}"
    if row.event is not None:
        text += f"  WARNING {row.event['severity']}: {printable('; '.join(row.event['reasons']))}"
    return text


def picture(run: Run, width: int, height: int) -> list[str]:
    """The run as lines of text with ANSI colours, at most ``height`` of them."""
    rows = run.rows.kept
    title = f"{_BOLD}foldmon{_PLAIN}  {run.label}"
    if not rows:
        return [title, "", *run.problems()]
    last = rows[-1]
    lines = [f"{title}  {_DIM}{_facts(run, last)}{_PLAIN}", ""]
    lines += _curve(rows, "phi", "phi", f"{_number(last.values['phi'])} {_interval(last)}", width)
    if last.values["changes"] is not None:
        lines += _curve(rows, "changes", "decision", f"{last.values['changes']:.2f} changes a path", width)
    warnings = [row.event for row in rows if row.event is not None]
    for event in warnings[-2:]:
        colour = _ALARM if event["severity"] > 1 else _WARN
        text = printable(f"▲ step {event['step']:,}: {'; '.join(event['reasons'])}")
        lines.append(f"{colour}{text[: width - 1]}{_PLAIN}")
    lines += ["", *_layers(rows, width, height - len(lines) - 1)]
    return lines[:height]


def _facts(run: Run, last: Row) -> str:
    exact = "exact" if last.values["exact"] else "sampled"
    overhead = last.values["overhead"]
    cost = "" if overhead is None else f" · cost {overhead:.2%}"
    state = "ended" if run.end is not None else "running"
    return f"step {last.step:,} · {exact} · {len(last.layers)} layers{cost} · {state}"


def _curve(rows: list[Row], name: str, label: str, latest: str, width: int) -> list[str]:
    room = max(10, width - _LABEL - len(latest) - 3)
    line = sparkline([row.values[name] for row in rows], room)
    return [f"{label:<{_LABEL}}{line}  {_BOLD}{latest}{_PLAIN}"]


def _layers(rows: list[Row], width: int, most: int) -> list[str]:
    """The layers that changed most since the first probe, as bars."""
    last = rows[-1]
    if most < 2 or not last.layers:
        return []
    layers = most_changed(rows, most - 1)
    label = min(max(len(layer.name) for layer in layers), max(16, width // 3))
    top = float(last.folding.max())
    left = len(last.layers) - len(layers)
    head = "folding by layer, since the start" + (f" ({left} that changed less are left out)" if left else "")
    lines = [f"{_DIM}{head[: width - 1]}{_PLAIN}"]
    for name, now, change in layers:
        name = printable(name)
        shown = name if len(name) <= label else "…" + name[1 - label :]
        room = max(6, width - label - 22)
        lines.append(f"{shown:<{label}} {bar(now, top, room)} {now:7.4f} {_DIM}{change:+8.4f}{_PLAIN}")
    return lines


def _number(value: float | None) -> str:
    return "?" if value is None else f"{value:.4f}"


def _interval(row: Row) -> str:
    low, high = row.values["lower"], row.values["upper"]
    return "" if low is None or high is None else f"[{low:.4f}, {high:.4f}]"
