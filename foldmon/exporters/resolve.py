"""From what the user asked for to a journal and the exporters that read it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from foldmon.exporters.base import Exporter
from foldmon.exporters.callables import CallableExporter, Function
from foldmon.exporters.console import ConsoleExporter
from foldmon.exporters.mlflow import MLflowExporter, active_run_exists
from foldmon.exporters.tensorboard import TensorBoardExporter
from foldmon.exporters.wandb import WandbExporter
from foldmon.folding.model.names import unknown_name
from foldmon.journal.finding import JOURNAL, SUBRUN
from foldmon.journal.writing import JSONLExporter

ExporterLike = Exporter | Function | str
_WORDS: Mapping[str, Callable[[Path], Exporter]] = {
    "tensorboard": lambda folder: TensorBoardExporter(folder.parent),
    "mlflow": lambda folder: MLflowExporter(),
    "wandb": lambda folder: WandbExporter(),
    "console": lambda folder: ConsoleExporter(),
    "jsonl": lambda folder: JSONLExporter(folder / JOURNAL),
}


def resolve(
    asked: Sequence[ExporterLike] | ExporterLike | None, log_dir: str | os.PathLike[str] | None
) -> tuple[JSONLExporter, list[Exporter]]:
    """The journal, and what is delivered from it.

    Args:
        asked: exporters, functions ``f(values, step)``, or the words "tensorboard", "mlflow", "wandb",
            "console", "jsonl". None means TensorBoard, the console, and MLflow where this thread has an
            active run. A journal is always kept.
        log_dir: the run's folder for those that were not given a place; None makes
            ``runs/foldmon-<time>``.

    Raises:
        ValueError: an unknown word.
        TypeError: an object without ``name``, ``write`` and ``close`` that cannot be called so either.
    """
    if asked is None:
        asked = ["tensorboard", "console"] + (["mlflow"] if active_run_exists() else [])
    elif isinstance(asked, str) or not isinstance(asked, Sequence):
        asked = [asked]
    boards = [e for e in asked if isinstance(e, TensorBoardExporter)]
    folder = boards[0].folder if boards and log_dir is None else _run_folder(log_dir) / SUBRUN
    exporters = [_made(exporter, folder) for exporter in asked]
    journals = [e for e in exporters if isinstance(e, JSONLExporter)]
    journal = journals[0] if journals else JSONLExporter(folder / JOURNAL)
    return journal, [exporter for exporter in exporters if exporter is not journal]


def _run_folder(log_dir: str | os.PathLike[str] | None) -> Path:
    if log_dir is not None:
        return Path(log_dir).expanduser().absolute()
    base = Path("runs").absolute() / time.strftime("foldmon-%Y%m%d-%H%M%S")
    # Two runs that begin in the same second are still two runs.
    names = (base if n == 0 else base.with_name(f"{base.name}-{n}") for n in range(1000))
    return next(path for path in names if not path.exists())


def _made(exporter: ExporterLike, folder: Path) -> Exporter:
    if isinstance(exporter, str):
        if exporter not in _WORDS:
            raise ValueError(unknown_name("exporter", exporter, _WORDS))
        return _WORDS[exporter](folder)
    if isinstance(exporter, type):
        raise TypeError(f"an exporter is an object, not a class: give {exporter.__name__}(...)")
    if isinstance(exporter, Exporter):
        return exporter
    if callable(exporter):
        return CallableExporter(exporter)
    raise TypeError(
        "an exporter needs a name, write(records) and close(), or is a function f(values, step); "
        f"got {type(exporter).__name__}"
    )
