"""Pictures of the Folding tab for readers: python -m tests.views.take_screenshots [folder]."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from foldmon.exporters.tensorboard import TensorBoardExporter
from tests.views import journals
from tests.views.browser import Browser
from tests.views.server import tensorboard

_FRAME = "document.querySelector('iframe')?.contentDocument"
_MANY = {
    "batch 32": 0.031,
    "batch 64": 0.036,
    "batch 128": 0.04,
    "batch 256": 0.044,
    "dropout 0.1": 0.052,
    "dropout 0.3": 0.059,
    "sgd": 0.025,
    "adamw": 0.067,
    "no augmentation": 0.075,
    "wide": 0.021,
}


def main(folder: str | Path = Path(__file__).parent / "screenshots") -> None:
    out = Path(folder)
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch, Browser(1280, 860) as browser:
        logs = Path(scratch) / "logs"
        clean = journals.training(160, 16, seed=1)
        _log(logs / "two" / "clean labels", [*clean, journals.end(clean)])
        _log(logs / "two" / "30% wrong labels", journals.training(160, 16, seed=2, memorises=True))
        for i, (name, plateau) in enumerate(_MANY.items()):
            _log(logs / "many" / name, journals.training(400, 60, seed=i, plateau=plateau))
        _log(logs / "empty" / "just started", [journals.start()])
        journals.write(logs / "empty" / "notes" / "journal.jsonl", [], torn="lr was too high\n")
        (logs / "nothing").mkdir()
        for name, group, scheme, after in (
            ("light", "two", "light", "page.choose(null)"),
            ("dark", "two", "dark", "page.setMeasure('cumulative')"),
            ("warning", "two", "light", _HOVER_WARNING),
            ("many-runs", "many", "light", "page.point('dropout 0.1/foldmon')"),
            ("empty", "empty", "light", "page.choose(null)"),
        ):
            with tensorboard(logs / group, Path(scratch) / "tensorboard") as server:
                browser.prefer(scheme)
                browser.open(f"{server.url}/?darkMode={str(scheme == 'dark').lower()}#foldmon")
                browser.wait_for(f"{_FRAME}?.documentElement?.dataset.loaded", 60)
                browser.evaluate(
                    f"document.body.classList.toggle('dark-mode', {str(scheme == 'dark').lower()})"
                )
                browser.evaluate(f"(() => {{ const page = {_FRAME}.defaultView.foldmonPage; {after}; }})()")
                time.sleep(0.5)
                browser.shoot(out / f"{name}.png")


_HOVER_WARNING = """
  const chart = page.charts[0], warning = page.shown().flatMap((run) => run.warnings)[0];
  page.setCursor(warning.step);
  chart.tell();
"""


def _log(folder: Path, records: list[journals.Record]) -> None:
    now = time.time_ns() // 1_000_000
    for record in records:
        record["time_ms"] = now - (records[-1]["seq"] - record["seq"]) * 4000
    journals.write(folder / "foldmon" / "journal.jsonl", records)
    exporter = TensorBoardExporter(folder)
    exporter.write(records)
    exporter.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
