"""Figures for papers and notebooks, drawn with matplotlib."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from foldmon.exporters.scale import reach, settled
from foldmon.journal.resuming import probes_of
from foldmon.journal.schema import Record
from foldmon.views.run.best import best_of
from foldmon.views.run.rows import Row, readable
from foldmon.views.run.scores import users_scores

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ACCENT, _QUIET, _WARN = "#0077bb", "#8a8f98", "#c2570c"
# TensorBoard's own colours of runs, so that a run looks the same in a figure and in the tab.
_PALETTE = ("#ff7043", "#0077bb", "#cc3311", "#33bbee", "#ee3377", "#009988", "#8a8f98")
_MOST_NAMES = 24
_SCORES = {"heldout_accuracy": "held-out accuracy", "heldout_loss": "held-out loss"}


def require_matplotlib() -> None:
    """Say what to install where matplotlib is missing.

    Raises:
        ImportError: it is.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise ImportError('figures need matplotlib: pip install "foldmon[plot]"') from error


def plot_history(records: Iterable[Record], *, title: str | None = None) -> Figure:
    """One run: phi, held-out scores where known, decision folding, layer x step, and the depth profile.

    Args:
        records: of a journal (others than probes are left out), or ``report.to_dict()`` of each report.
        title: of the figure.

    Returns:
        A figure of its own, unknown to pyplot: ``figure.savefig("folding.png")``.

    Raises:
        ValueError: there is no probe among the records.
        ImportError: matplotlib is missing.

    Example:
        >>> layer = {"layers": ["relu"], "folding": [0.1], "cumulative": [0.1]}
        >>> figure = plot_history([{"step": 0, "phi": 0.1, "phi_interval": [0.0, 0.2], **layer}])
        >>> [axes.get_title(loc="left") for axes in figure.axes[:2]]
        ['phi, 95% interval', 'decision folding']
    """
    require_matplotlib()
    from matplotlib.figure import Figure

    rows = rows_of(records)
    if not rows:
        raise ValueError("nothing to plot yet: no probe has been recorded")
    scores = [name for name in _SCORES if any(row.values[name] is not None for row in rows)]
    figure = Figure(figsize=(14 if scores else 10, 6), layout="constrained")
    axes = figure.subplots(2, 3 if scores else 2, width_ratios=(2, 2, 1.4) if scores else (2, 1))
    _phi(axes[0, 0], rows, _ACCENT)
    _decision(axes[0, -1], rows)
    _say_what_is_cut_off(axes[0, 0], rows, "phi")
    _say_what_is_cut_off(axes[0, -1], rows, "changes")
    _heat_map(figure, axes[1, 0], rows)
    _profile(axes[1, -1], rows)
    for place, name in enumerate(scores):
        _score(axes[place, 1], rows, name)
    if len(scores) == 1:
        axes[1, 1].remove()
    if title is not None:
        figure.suptitle(title, x=0.01, ha="left", fontsize=12)
    return figure


def plot_comparison(runs: Mapping[str, Iterable[Record]]) -> Figure:
    """Several runs: phi with its interval, and decision folding.

    Args:
        runs: records of each run, by its label.

    Raises:
        ImportError: matplotlib is missing.
    """
    require_matplotlib()
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(2, 1))
    for i, (label, records) in enumerate(runs.items()):
        rows = rows_of(records)
        if rows:
            colour = _PALETTE[i % len(_PALETTE)]
            _phi(left, rows, colour, label)
            _decision(right, rows, colour)
    if left.lines:
        left.legend(frameon=False, fontsize=8)
    return figure


def rows_of(records: Iterable[Record]) -> list[Row]:
    """The rows of the probes among the records."""
    probes: Sequence[Record] = probes_of(records)
    numbered = (readable({"seq": i, **probe}, index=i) for i, probe in enumerate(probes))
    return [row for row in numbered if row is not None]


def _numbers(rows: list[Row], name: str) -> Any:
    return np.array([np.nan if row.values[name] is None else row.values[name] for row in rows], float)


def _phi(axes: Axes, rows: list[Row], colour: str, label: str | None = None) -> None:
    steps = [row.step for row in rows]
    axes.fill_between(steps, _numbers(rows, "lower"), _numbers(rows, "upper"), color=colour, alpha=0.18, lw=0)
    axes.plot(steps, _numbers(rows, "phi"), color=colour, lw=1.4, label=label, marker=_marker(rows), ms=3)
    _finish(axes, "phi, 95% interval", rows, "phi", "upper")


def _decision(axes: Axes, rows: list[Row], colour: str = _ACCENT) -> None:
    steps = [row.step for row in rows]
    axes.plot(steps, _numbers(rows, "changes"), color=colour, lw=1.4, marker=_marker(rows), ms=3)
    _finish(axes, "decision folding", rows, "changes")
    axes.set_ylabel("class changes a path", fontsize=8)


def _score(axes: Axes, rows: list[Row], name: str) -> None:
    """A held-out score with its interval, on a scale that spans what follows the first tenth of the steps."""
    steps, title = [row.step for row in rows], _SCORES[name]
    low, value, high = (_numbers(rows, column) for column in (f"{name}_lower", name, f"{name}_upper"))
    axes.fill_between(steps, low, high, color=_ACCENT, alpha=0.18, lw=0)
    axes.plot(steps, value, color=_ACCENT, lw=1.4, marker=_marker(rows), ms=3, label="measured")
    kind = name.replace("heldout", "user")
    own = zip(steps, users_scores(kind, [row.logged for row in rows]), strict=True)
    if known := [(step, score) for step, score in own if score is not None]:
        axes.plot(*zip(*known, strict=True), color=_QUIET, lw=1, ls="--", label="logged by you")
        axes.legend(frameon=False, fontsize=7)
    _mark_warnings(axes, rows)
    axes.margins(x=0)
    late = np.concatenate([column[settled(steps) :] for column in (low, value, high)])
    if (late := late[np.isfinite(late)]).size:
        room = 0.1 * np.ptp(late) or 0.05
        axes.set_ylim(late.min() - room, late.max() + room)
    axes.set_xlabel("step", fontsize=8)
    _quieten(axes, f"{title}, 95% interval")


def _mark_warnings(axes: Axes, rows: list[Row]) -> None:
    for row in rows:
        if row.event is not None:
            axes.axvline(row.event["step"], color=_WARN, lw=1, ls=":")


def _marker(rows: list[Row]) -> str | None:
    return "o" if len(rows) == 1 else None


def _finish(axes: Axes, title: str, rows: list[Row], *names: str) -> None:
    _mark_warnings(axes, rows)
    axes.margins(x=0)
    top = max(reach([row.step for row in rows], _numbers(rows, name)) for name in names)
    of_others = 0.0 if axes.get_autoscaley_on() else axes.get_ylim()[1]
    axes.set_ylim(0, max(1.05 * top, of_others) or 1.0)
    axes.set_xlabel("step", fontsize=8)
    _quieten(axes, title)


def _say_what_is_cut_off(axes: Axes, rows: list[Row], name: str) -> None:
    most = max(rows, key=lambda row: row.values[name] or 0.0)
    if (value := most.values[name] or 0.0) > axes.get_ylim()[1]:
        text = f"↑ {value:.3g} at step {most.step:,}"
        axes.text(1, 1.02, text, transform=axes.transAxes, ha="right", fontsize=8, color=_QUIET)


def _quieten(axes: Axes, title: str) -> None:
    axes.set_title(title, loc="left", fontsize=10)
    axes.tick_params(labelsize=8, color=_QUIET)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(_QUIET)


def _heat_map(figure: Figure, axes: Axes, rows: list[Row]) -> None:
    layers = rows[-1].layers
    values = np.stack([row.in_order_of(layers)[0] for row in rows])
    top = reach([row.step for row in rows], values) or 1.0
    steps = np.array([row.step for row in rows], float)
    spacing = (steps[-1] - steps[0]) / (len(steps) - 1) if len(steps) > 1 else 1.0
    edges = np.append(steps, steps[-1] + spacing)
    mesh = axes.pcolormesh(
        edges, np.arange(len(layers) + 1) - 0.5, values.T, cmap="YlGnBu", vmin=0, vmax=top, rasterized=True
    )
    every = -(-len(layers) // _MOST_NAMES)
    axes.set_yticks(range(0, len(layers), every), layers[::every])
    axes.invert_yaxis()
    axes.set_xlabel("step", fontsize=8)
    _quieten(axes, "folding, layer x step")
    beyond = "max" if np.nanmax(values, initial=0.0) > top else "neither"
    bar = figure.colorbar(mesh, ax=axes, pad=0.01, aspect=30, extend=beyond)
    outline: Any = bar.outline
    outline.set_visible(False)
    bar.ax.tick_params(labelsize=7, color=_QUIET)


def _profile(axes: Axes, rows: list[Row]) -> None:
    layers = rows[-1].layers
    begin: dict[str, Any] = {"color": _QUIET, "ls": "--", "lw": 1.0}
    curves = [(rows[0], "start", begin)]
    best = best_of(rows)
    if best is not None:
        curves.append((rows[best.row], f"best ({best.why})", {"color": "#1c2126", "lw": 1.0}))
    curves.append((rows[-1], "latest", {"color": _ACCENT, "lw": 1.8}))
    for row, label, style in curves:
        _, cumulative = row.in_order_of(layers)
        axes.plot(cumulative, range(len(layers)), label=f"{label}, step {row.step:,}", **style)
    axes.invert_yaxis()
    top = reach([row.step for row in rows], np.stack([row.in_order_of(layers)[1] for row in rows]))
    axes.set_xlim(0, 1.05 * top or 1.0)
    axes.set_xlabel("cumulative folding", fontsize=8)
    axes.set_ylabel("layer, input at the top", fontsize=8)
    axes.legend(frameon=False, fontsize=7)
    _quieten(axes, "depth profile")
