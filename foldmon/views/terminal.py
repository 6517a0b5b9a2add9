"""A run as a terminal shows it, made of rich's parts."""

from __future__ import annotations

import math

from rich.bar import Bar
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from foldmon.exporters.words import cost_text, joined
from foldmon.views.run.changed import most_changed
from foldmon.views.run.reading import Run
from foldmon.views.run.rows import Row
from foldmon.views.text import bounds, counted, number, printable, share, sparkline

_LABEL = 12


def picture(run: Run, width: int, height: int) -> Group:
    """The run in at most ``height`` lines of ``width`` cells.

    Whatever comes from the journal is a ``Text`` of printable characters: never markup, never a command to
    the terminal.

    Example:
        >>> import tempfile
        >>> from rich.console import Console
        >>> path = f"{tempfile.mkdtemp()}/journal.jsonl"
        >>> Console().print(picture(Run(path, "run", "[red]mine"), 80, 24))
        foldmon  [red]mine
        <BLANKLINE>
        The journal is empty: training has not written its first line yet.
    """
    rows = run.rows.kept
    title = Text.assemble(("foldmon", "bold"), "  ", _line(_end_of(run.label, width - len("foldmon  "))))
    if not rows:
        return Group(title, "", *(Text(printable(problem)) for problem in run.problems()))
    last = rows[-1]
    phi, low, high, changes = (last.values[name] for name in ("phi", "lower", "upper", "changes"))
    parts: list[RenderableType] = [title, _line(_facts(run, last), "dim")]
    parts.append(_curve(rows, "phi", "phi", number(phi) + bounds(low, high), width))
    parts += _scores(rows, width)
    if changes is not None:
        parts.append(_curve(rows, "changes", "decision", f"{changes:.2f} changes a path", width))
    for event in [row.event for row in rows if row.event is not None][-2:]:
        text = f"▲ step {event['step']:,}: {joined(event['reasons'])}"
        parts.append(_line(text, "red" if event["severity"] > 1 else "yellow"))
    parts.append("")
    if (left := height - len(parts)) > 1:
        parts += _layers(rows, width, left - 1)
    return Group(*parts[:height])


def _line(text: str, style: str = "") -> Text:
    return Text(printable(text), style, no_wrap=True, overflow="ellipsis")


def _end_of(text: str, room: int) -> str:
    return text if len(text) <= room else "…" + text[1 - room :]


def _facts(run: Run, last: Row) -> str:
    exact = "exact" if last.values["exact"] else "sampled"
    spent = cost_text(last.values["cost_seconds"], last.values["overhead"])
    state = "ended" if run.end is not None else "running"
    of = share(last.values["measured"], last.values["pairs"])
    how = f"{exact}, {of}" if of else exact
    facts = [state, f"step {last.step:,}", how, counted(len(last.layers), "layer"), spent]
    return " · ".join(filter(None, facts))


def _curve(rows: list[Row], name: str, label: str, latest: str, width: int, *, fitted: bool = False) -> Text:
    room = max(10, width - _LABEL - len(latest) - 3)
    line = sparkline([row.step for row in rows], [row.values[name] for row in rows], room, fitted=fitted)
    return Text.assemble(f"{label:<{_LABEL}}{line}  ", (latest, "bold"), no_wrap=True, overflow="ellipsis")


def _scores(rows: list[Row], width: int) -> list[Text]:
    """Held-out scores, as far as they are known, each on a scale of its own."""
    curves = []
    for name, label, shown in (
        ("heldout_accuracy", "accuracy", "{:.1%} held-out"),
        ("heldout_loss", "loss", "{:.4f} held-out"),
    ):
        if (latest := rows[-1].values[name]) is not None:
            curves.append(_curve(rows, name, label, shown.format(latest), width, fitted=True))
    return curves


def _layers(rows: list[Row], width: int, most: int) -> list[RenderableType]:
    """The layers that changed most since the first probe, as bars."""
    changes = most_changed(rows, most)
    if not changes:
        return []
    left = len(rows[-1].layers) - len(changes)
    head = "folding by layer, since the start" + (f" ({left} that changed less are left out)" if left else "")
    top = max((float(value) for value in rows[-1].folding if math.isfinite(value)), default=0.0)
    table = Table.grid(padding=(0, 1), expand=True)
    table.add_column(no_wrap=True)
    table.add_column(ratio=1)
    table.add_column(justify="right")
    table.add_column(justify="right", style="dim")
    label = max(16, width // 3)
    for name, now, change in changes:
        filled = Bar(top, 0.0, now if math.isfinite(now) else 0.0)
        table.add_row(_line(_end_of(name, label)), filled, f"{now:.4f}", f"{change:+.4f}")
    return [_line(head, "dim"), table]
