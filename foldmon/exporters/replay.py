"""Replay: rebuild what a backend shows from a journal."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from foldmon.exporters.base import Exporter
from foldmon.exporters.tensorboard import TensorBoardExporter
from foldmon.journal.check import read_checked
from foldmon.journal.schema import Record, is_probe

logger = logging.getLogger("foldmon")

_AT_ONCE = 20  # records a write
_PART = "replay.part"  # no name that TensorBoard takes for an event file


def replay(journal: str | os.PathLike[str], exporter: Exporter) -> int:
    """Bring every record of a journal to a backend, without doubling what is there.

    In TensorBoard the event files of foldmon's own sub-run are replaced, once the new one is whole; no
    other file is touched. MLflow keeps a value once for the same time and step, and gets the journal's
    own. Not for a run that is still being written: it delivers by itself.

    Args:
        journal: path of the journal.
        exporter: of the backend; it is closed at the end.

    Returns:
        int: number of probes.

    Raises:
        FileNotFoundError: there is no journal.
        ValueError: it holds no probe; the message names the first damaged line and its cause.
        Exception: whatever the backend raises.

    Example:
        >>> import os, tempfile, torch, foldmon
        >>> model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU())
        >>> folder = tempfile.mkdtemp()
        >>> with foldmon.watch(model, torch.randn(20, 4), exporters=[], log_dir=folder) as monitor:
        ...     _ = monitor.probe()
        >>> replay(monitor.journal_path, foldmon.TensorBoardExporter(folder))
        2
    """
    records, causes = read_checked(journal)
    for cause in causes:
        logger.warning("foldmon: %s: %s; the line is left out", journal, cause)
    probes = sum(map(is_probe, records))
    if not probes:
        raise ValueError(f"{journal} holds no probe" + (f" ({causes[0]})" if causes else ""))
    if isinstance(exporter, TensorBoardExporter):
        _replace_events(exporter.folder, records)
    else:
        _write_all(exporter, records)
    return probes


def _replace_events(folder: Path, records: Sequence[Record]) -> None:
    """Write all into one fresh event file, and only then take the older ones away."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="foldmon-") as scratch:
        fresh = TensorBoardExporter(scratch)
        _write_all(fresh, records)
        (made,) = _event_files(fresh.folder)
        part = folder / _PART
        shutil.copyfile(made, part)
    older = list(_event_files(folder))
    for path in older:
        path.unlink()
    part.replace(folder / made.name)


def _event_files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.glob("events.out.tfevents.*") if path.is_file() or path.is_symlink())


def _write_all(exporter: Exporter, records: Sequence[Record]) -> None:
    try:
        for low in range(0, len(records), _AT_ONCE):
            exporter.write(records[low : low + _AT_ONCE])
    finally:
        exporter.close()
