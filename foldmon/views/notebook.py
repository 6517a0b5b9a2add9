"""A run as a notebook shows it: plain HTML and SVG, no script."""

from __future__ import annotations

import html
from collections.abc import Iterable

from foldmon.exporters.scale import reach, settled
from foldmon.exporters.words import joined, scores_text
from foldmon.journal.schema import Record
from foldmon.views.plots import rows_of
from foldmon.views.run.changed import most_changed
from foldmon.views.run.rows import Row
from foldmon.views.text import bounds, number, share

_WIDTH, _HEIGHT = 360, 72
_COLOUR, _WARN = "#0077bb", "#c2570c"


def history_html(records: Iterable[Record], *, limit: int = 12) -> str:
    """phi over the steps and the layers that changed most, for ``_repr_html_``.

    Args:
        records: of a journal, or ``report.to_dict()`` of each report.
        limit: number of layers at most.

    Example:
        >>> layer = {"layers": ["<relu>"], "folding": [0.1], "cumulative": [0.1]}
        >>> page = history_html([{"step": 7, "phi": 0.25, "phi_interval": [0.2, 0.3], **layer}])
        >>> "0.2500" in page, "&lt;relu&gt;" in page, "<script" in page
        (True, True, False)
    """
    rows = rows_of(records)
    if not rows:
        return "<p>foldmon: no probe has ended yet.</p>"
    last = rows[-1]
    phi, low, high = (last.values[name] for name in ("phi", "lower", "upper"))
    kind = "exact" if last.values["exact"] else "sampled"
    of = share(last.values["measured"], last.values["pairs"])
    warnings = "".join(
        f'<div style="color:{_WARN}">▲ step {row.event["step"]:,}: '
        f"{html.escape(joined(row.event['reasons']))}</div>"
        for row in rows
        if row.event is not None
    )
    return (
        '<div style="font-variant-numeric:tabular-nums;line-height:1.4">'
        f"<div>φ <b>{number(phi)}</b>{bounds(low, high)} at step {last.step:,}, {kind}, {of and of + ', '}"
        f"{len(last.layers)} layers</div>"
        f"{warnings}{_chart(rows, 'phi', 'lower', 'upper')}{_held_out(rows)}{_layers(rows, limit)}</div>"
    )


def _held_out(rows: list[Row]) -> str:
    """The held-out scores beneath phi, over the same steps."""
    scores = scores_text(*(rows[-1].values[name] for name in ("heldout_accuracy", "heldout_loss")))
    charts = (
        _chart(rows, name, f"{name}_lower", f"{name}_upper", fitted=True)
        for name in ("heldout_accuracy", "heldout_loss")
    )
    return f"<div>{scores}</div>{''.join(charts)}" if scores else ""


def _chart(rows: list[Row], value: str, lower: str, upper: str, *, fitted: bool = False) -> str:
    """A column as a line, its interval as a band, warnings as marks; a fitted scale spans the values."""
    known = [row for row in rows if row.values[value] is not None]
    if len(known) < 2:
        return ""
    begin, end = rows[0].step, rows[-1].step
    low, top = _scale(known, value, upper, fitted)

    def x(step: int) -> float:
        return (step - begin) / (end - begin) * _WIDTH

    def points(name: str, among: list[Row]) -> str:
        return " ".join(
            f"{x(row.step):.1f},{_HEIGHT - (float(row.values[name]) - low) / (top - low) * _HEIGHT:.1f}"
            for row in among
        )

    band = [row for row in known if row.values[lower] is not None and row.values[upper] is not None]
    area = f"{points(upper, band)} {points(lower, band[::-1])}"
    marks = "".join(
        f'<line x1="{x(row.step):.1f}" x2="{x(row.step):.1f}" y1="0" y2="{_HEIGHT}" stroke="{_WARN}" '
        'stroke-dasharray="2 3"/>'
        for row in rows
        if row.event is not None
    )
    return (
        f'<svg width="{_WIDTH}" height="{_HEIGHT}" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'style="overflow:hidden;margin:6px 12px 6px 0" aria-label="{value} over steps {begin:,} to {end:,}">'
        f'<polygon points="{area}" fill="{_COLOUR}" fill-opacity="0.18"/>{marks}'
        f'<polyline points="{points(value, known)}" fill="none" stroke="{_COLOUR}" stroke-width="1.5"/></svg>'
    )


def _scale(known: list[Row], value: str, upper: str, fitted: bool) -> tuple[float, float]:
    """Where a chart begins and ends: at 0 and where ``reach`` ends, or around the settled values."""
    steps = [row.step for row in known]
    if not fitted:
        highs = [float(row.values[upper] or row.values[value]) for row in known]
        return 0.0, reach(steps, highs) or 1.0
    late = [float(row.values[value]) for row in known[settled(steps) :]]
    room = 0.15 * (max(late) - min(late)) or 0.1
    return min(late) - room, max(late) + room


def _layers(rows: list[Row], limit: int) -> str:
    """Bars of the folding of the layers that changed most."""
    layers = most_changed(rows, limit)
    top = max((layer.now for layer in layers), default=0.0) or 1.0
    lines = []
    for name, value, _ in layers:
        width = max(0.0, min(value / top, 1.0)) * 160
        lines.append(
            f'<tr><td style="text-align:left">{html.escape(name)}</td>'
            f'<td style="text-align:left"><div style="width:{width:.0f}px;height:9px;background:{_COLOUR}">'
            f"</div></td><td>{value:.4f}</td></tr>"
        )
    return f"<table>{''.join(lines)}</table>"
