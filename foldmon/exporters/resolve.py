"""From what the user asked for to a journal and the exporters that read it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from foldmon.exporters.base import Exporter
from foldmon.exporters.callables import CallableExporter, Function
from foldmon.exporters.console import ConsoleExporter
from foldmon.exporters.mlflow import MLflowExporter, active_run_exists
from foldmon.exporters.remote import Mirror, is_remote
from foldmon.exporters.tensorboard import TensorBoardExporter
from foldmon.exporters.wandb import WandbExporter
from foldmon.folding.model.names import unknown_name
from foldmon.journal.finding import JOURNAL, SUBRUN, local, run_folder
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
            ``runs/foldmon-<time>``. Of an address such as ``s3://bucket/run``, TensorBoard's events and, at
            the end, the journal are copied there from such a folder.

    Raises:
        ValueError: an unknown word, or an address that nothing installed reaches.
        TypeError: an object without ``name``, ``write`` and ``close`` that cannot be called so either.
    """
    if asked is None:
        asked = ["tensorboard", "console"] + (["mlflow"] if active_run_exists() else [])
    elif isinstance(asked, str) or not isinstance(asked, Sequence):
        asked = [asked]
    if log_dir is not None and is_remote(log_dir):
        # The journal is the queue that all wait for: it stays on this machine.
        asked = [TensorBoardExporter(log_dir) if e == "tensorboard" else e for e in asked]
        Mirror(os.fspath(log_dir))
        log_dir = None
    boards = [e for e in asked if isinstance(e, TensorBoardExporter)]
    if boards and log_dir is None:
        folder = boards[0].folder
    else:
        folder = (run_folder() if log_dir is None else local(log_dir)) / SUBRUN
    exporters = [_made(exporter, folder) for exporter in asked]
    journals = [e for e in exporters if isinstance(e, JSONLExporter)]
    journal = journals[0] if journals else JSONLExporter(folder / JOURNAL)
    return journal, [exporter for exporter in exporters if exporter is not journal]


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
