"""``foldmon live``: a running training in another terminal."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from pathlib import Path
from typing import TextIO

from foldmon.exporters.words import joined, scores_text
from foldmon.journal.finding import JOURNAL, SUBRUN, journal_of
from foldmon.views.run.reading import Run
from foldmon.views.run.rows import Row
from foldmon.views.text import bounds, number, printable, share


def live(
    path: str | os.PathLike[str],
    *,
    interval: float = 0.25,
    stream: TextIO | None = None,
) -> None:
    """Show a run until its journal ends, or until Ctrl-C.

    On a terminal the picture is redrawn in place, and its last state stays on the screen; this needs rich.
    Elsewhere every probe is one line, so that the output can go into a file or a pipe. A journal that does
    not exist yet is waited for.

    Args:
        path: the journal, or a folder that holds one.
        interval: seconds between looks at the file.
        stream: where to write; None takes standard output.

    Raises:
        ImportError: the output is a terminal and rich is missing.

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
    redrawn = out.isatty() and os.environ.get("TERM") != "dumb"
    # Ctrl-C is how one leaves.
    with contextlib.suppress(KeyboardInterrupt):
        (_screen if redrawn else _lines)(run, out, interval)


def _journal(path: str | os.PathLike[str]) -> str:
    """The journal of a folder; where it is not there yet, the place where one would come."""
    try:
        return str(journal_of(path))
    except FileNotFoundError:
        given = Path(path)
        if given.suffix and not given.is_dir():
            return str(given)
        return str(given / JOURNAL if given.name == SUBRUN else given / SUBRUN / JOURNAL)


def _screen(run: Run, out: TextIO, interval: float) -> None:
    try:
        from rich.console import Console
        from rich.live import Live

        from foldmon.views.terminal import picture
    except ImportError as error:
        raise ImportError("a picture in the terminal needs rich: pip install 'foldmon[live]'") from error
    console = Console(file=out, force_terminal=True)
    try:
        with Live(console=console, screen=True, auto_refresh=False) as shown:
            drawn = None
            while True:
                run.refresh()
                state = (run.rows.version, run.rows.total, run.end, run.problems(), console.size)
                if state != drawn:
                    drawn = state
                    shown.update(picture(run, console.width, console.height - 1), refresh=True)
                if run.end is not None:
                    break
                time.sleep(interval)
    finally:
        # The other screen is gone with its picture: leave the last one behind.
        console.print(picture(run, console.width, console.height - 1))


def _lines(run: Run, out: TextIO, interval: float) -> None:
    shown, said, restarts = -1, False, run.restarts
    while True:
        run.refresh()
        if run.restarts != restarts:
            shown, restarts = -1, run.restarts  # another journal took its place
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
    text = f"step {row.step:>9,}  phi {number(values['phi'])}{bounds(values['lower'], values['upper'])}"
    if values["changes"] is not None:
        text += f"  decision {values['changes']:.2f}"
    if scores := scores_text(values["heldout_accuracy"], values["heldout_loss"]):
        text += f"  {scores}"
    if of := share(values["measured"], values["pairs"]):
        text += f"  ({of})"
    if row.event is not None:
        text += f"  WARNING {row.event['severity']}: {joined(row.event['reasons'])}"
    return printable(text)
