"""The report: one self-contained page of one or several runs, their numbers as CSV, figures for papers."""

from __future__ import annotations

import csv
import html
import json
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from foldmon.exporters.words import joined
from foldmon.journal.finding import journal_of, label_of
from foldmon.journal.following import Tail
from foldmon.journal.resuming import probes_of
from foldmon.journal.schema import Record
from foldmon.views.run.details import details
from foldmon.views.run.reading import Run
from foldmon.views.run.rows import COLUMNS, readable
from foldmon.views.run.undrawn import UNTABLED
from foldmon.views.run.words import in_words

_STATIC = Path(__file__).parent / "static"
_IMPORT = re.compile(r'^import [^;]* from "\./(\w+)\.js";\n', re.MULTILINE)
_MOST_PROBES = 24
_MOST_VALUES = 200_000


def write_report(
    journals: Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    figures: bool = False,
    labels: Sequence[str] | None = None,
) -> list[Path]:
    """Write a report of one run, or of several beside each other.

    Beside ``out`` (``report.html``) come ``report.csv``, one line a probe, and ``report-layers.csv``, one
    line a probe and layer; with ``figures`` also ``report-phi.png`` and ``report-<run>.png``.

    Args:
        journals: the runs' journals, or folders that hold one (``<log_dir>`` or ``<log_dir>/foldmon``).
        out: the page, or a folder that is there, for ``report.html`` in it.
        figures: draw PNGs too; needs matplotlib.
        labels: what to call the runs; None takes the names of their folders.

    Returns:
        The files written, the page first.

    Raises:
        ValueError: no journal was given, labels and journals differ in number, or labels repeat.
        FileNotFoundError: there is no journal where one was said to be.
        ImportError: figures were asked for and matplotlib is missing.

    Example:
        >>> import json, pathlib, tempfile
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> _ = (folder / "journal.jsonl").write_text('{"kind": "start", "seq": 0, "time_ms": 0}\\n')
        >>> [path.name for path in write_report([folder], folder / "report.html")]
        ['report.html', 'report.csv', 'report-layers.csv']
    """
    paths = [journal_of(path) for path in journals]
    if not paths:
        raise ValueError("a report needs at least one journal")
    if labels is not None and len(labels) != len(paths):
        raise ValueError(f"{len(labels)} labels for {len(paths)} journals: give one a journal")
    if labels is not None and len(set(labels)) != len(labels):
        raise ValueError(f"labels must differ, got {', '.join(labels)}")
    if figures:
        from foldmon.views.plots import require_matplotlib

        require_matplotlib()
    names = list(labels) if labels is not None else _labels(paths)
    page = Path(out) / "report.html" if Path(out).is_dir() else Path(out)
    page.parent.mkdir(parents=True, exist_ok=True)
    probes = {name: _probes(path) for name, path in zip(names, paths, strict=True)}
    written = [page, page.with_suffix(".csv"), page.with_name(f"{page.stem}-layers.csv")]
    page.write_text(report_html(paths, names), "utf-8")
    _write_csv(written[1], _probe_rows(probes))
    _write_csv(written[2], _layer_rows(probes))
    if figures:
        written += _write_figures(page, probes)
    return written


def _probes(path: Path) -> list[Record]:
    probes = probes_of(line.record for line in Tail(path, leave_out=UNTABLED).read())
    return [probe for probe in probes if readable(probe) is not None]


def report_html(paths: Sequence[Path], labels: Sequence[str]) -> str:
    """The page of ``write_report``, with its scripts and data inside."""
    runs = [Run(path, f"{i}", label) for i, (path, label) in enumerate(zip(paths, labels, strict=True))]
    for run in runs:
        run.refresh()
    data = {
        "runs": [run.payload() for run in runs],
        "probes": {run.name: _whole_probes(run) for run in runs},
    }
    title = f"Folding of {', '.join(labels)}"
    said = "".join(
        f"<section><h2>{html.escape(run.label)}</h2><p>{html.escape(' '.join(in_words(run)))}</p></section>"
        for run in runs
    )
    return (
        "<!DOCTYPE html>\n"
        f'<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{_WORDS_STYLE}</style></head><body>"
        f'<div class="foldmon words"><h1>{html.escape(title)}</h1><div>{said}</div></div>'
        '<div id="foldmon-page"></div>'
        f'<script type="application/json" id="foldmon-data">{_inside_script(data)}</script>'
        f'<script type="module">{_script()}\nrenderReport();</script></body></html>\n'
    )


_WORDS_STYLE = """
.words { padding-top: 28px !important; padding-bottom: 12px !important; }
.words h1 { margin: 0 0 10px; font-size: 20px; font-weight: 600; letter-spacing: -0.01em; }
.words > div {
  display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 380px), 1fr)); gap: 10px 36px;
}
.words p { max-width: 96ch; color: var(--ink2); }
"""


def _inside_script(data: Any) -> str:
    # No run name or reason may end the element that holds the data.
    return json.dumps(data, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")


def _script() -> str:
    """All modules as one: what they import from each other is in the same scope."""
    return "\n".join(_modules("report").values())


def _modules(name: str) -> dict[str, str]:
    """A module behind all that it imports, by their names, without the words of importing and exporting."""
    text = (_STATIC / f"{name}.js").read_text("utf-8")
    before = {key: each for needed in _IMPORT.findall(text) for key, each in _modules(needed).items()}
    return before | {name: re.sub(r"^export ", "", _IMPORT.sub("", text), flags=re.MULTILINE)}


def _whole_probes(run: Run) -> list[dict[str, Any]]:
    """Some probes whole: the first, the best, the last, those with warnings, and others evenly between."""
    rows = run.rows.kept
    if not rows:
        return []
    best = run.best()
    first = run.probe(rows[0].values["seq"]) or {}
    size = 4 * len(first.get("layers", ())) + len(first.get("class_matrix") or ()) ** 2
    number = max(2, min(_MOST_PROBES, _MOST_VALUES // max(size, 1)))
    wanted = {round(i * (len(rows) - 1) / (number - 1)) for i in range(number)}
    wanted |= {i for i, row in enumerate(rows) if row.event is not None} | ({best.row} if best else set())
    records = (run.probe(rows[i].values["seq"]) for i in sorted(wanted))
    return [details(record) for record in records if record is not None]


def _labels(paths: Sequence[Path]) -> list[str]:
    """The shortest ends of the folders' names that tell the runs apart."""
    folders = [path.parent.resolve() for path in paths]
    for length in range(1, max(len(folder.parts) for folder in folders) + 1):
        labels = [label_of("/".join(_run_parts(folder)[-length:]), folder) for folder in folders]
        if len(set(labels)) == len(labels):
            return labels
    return [f"{label} {i + 1}" for i, label in enumerate(labels)]


def _run_parts(folder: Path) -> tuple[str, ...]:
    parts = folder.parts[1:]
    return parts[:-1] if parts and parts[-1] == "foldmon" else parts


def _write_csv(path: Path, rows: Iterable[Sequence[Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)


def _probe_rows(probes: dict[str, list[Record]]) -> Iterable[list[Any]]:
    logged = list(
        dict.fromkeys(name for run in probes.values() for r in run for name in r.get("logged") or {})
    )
    yield ["run", *COLUMNS, "reasons", *logged]
    for label, run in probes.items():
        for record in run:
            event = (record.get("warning") or {}).get("event") or {}
            values = record.get("logged") or {}
            numbers = [get(record) for get in COLUMNS.values()]
            yield [
                label,
                *numbers,
                joined(event.get("reasons", ())),
                *(values.get(name) for name in logged),
            ]


_LAYER_COLUMNS = ("units", "folding", "cumulative", "r1", "r2", "dead", "saturated", "nonfinite")


def _layer_rows(probes: dict[str, list[Record]]) -> Iterable[list[Any]]:
    yield ["run", "step", "place", "layer", *_LAYER_COLUMNS]
    for label, run in probes.items():
        for record in run:
            columns = [record.get(name) or [None] * len(record["layers"]) for name in _LAYER_COLUMNS]
            for place, layer in enumerate(record["layers"]):
                yield [label, record["step"], place, layer, *(column[place] for column in columns)]


def _write_figures(page: Path, probes: dict[str, list[Record]]) -> list[Path]:
    from foldmon.views.plots import plot_comparison, plot_history

    written = [page.with_name(f"{page.stem}-phi.png")]
    plot_comparison(probes).savefig(written[0], dpi=200)
    for label, run in probes.items():
        if run:
            path = page.with_name(f"{page.stem}-{re.sub(r'[^A-Za-z0-9_.-]+', '_', label)}.png")
            # Labels that differ in what a file's name does not take would meet.
            written.append(path if path not in written else path.with_stem(f"{path.stem}-{len(written)}"))
            plot_history(run, title=label).savefig(written[-1], dpi=200)
    return written
