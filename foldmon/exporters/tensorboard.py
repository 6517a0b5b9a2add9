"""TensorBoard: one event a probe, in a sub-run of its own."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from foldmon.exporters.base import WriteReport
from foldmon.exporters.charts import Charts
from foldmon.exporters.pictures import Pictures
from foldmon.exporters.remote import Mirror, is_remote
from foldmon.exporters.scalars import scalars
from foldmon.journal.files import append_whole, is_at
from foldmon.journal.finding import SUBRUN, local, run_folder
from foldmon.journal.schema import ProbeRecord, Record, is_probe
from foldmon.journal.unparsed import UNEXPORTED


class TensorBoardExporter:
    """Writes to ``<log_dir>/foldmon``, never into the run folder itself.

    Two event files in one run folder can freeze the curves of the other writer (TensorBoard reads one of
    them only), so foldmon keeps to a sub-run.

    Args:
        log_dir: a run's folder, as given to ``SummaryWriter``; it stays when the working folder changes. An
            address such as ``s3://bucket/run`` gets copies of the events, and of the journal at the end,
            through fsspec where that is installed.
        layers: layers with a chart of their own at most (the Folding tab shows all); of more, those that
            change most in the first probes. None charts all.

    Example:
        >>> import tempfile
        >>> TensorBoardExporter(tempfile.gettempdir()).folder.name
        'foldmon'
    """

    name = "tensorboard"
    unread = UNEXPORTED

    def __init__(self, log_dir: str | os.PathLike[str], layers: int | None = 12) -> None:
        self._charts = Charts(layers)
        self._pictures = Pictures()
        self._mirror = Mirror(f"{os.fspath(log_dir)}/{SUBRUN}") if is_remote(log_dir) else None
        self.folder = (run_folder() if is_remote(log_dir) else local(log_dir)) / SUBRUN
        self._seq = -1  # of the last record that is in the file
        self._file: int | None = None
        self._last_step: int | None = None  # of what is in the file
        _import_ahead()

    def move(self, folder: Path) -> None:
        """Write into another folder; before the first ``write``."""
        self.folder = folder

    def recall(self, earlier: Iterable[Record]) -> None:
        """Keep the charts that an earlier process chose."""
        self._charts.recall(earlier)

    def write(self, records: Sequence[Record]) -> None:
        """Append one event a probe and make them visible.

        Raises:
            OSError: the folder or the disk does not take them; nothing of the batch is left in the file.
        """
        # Where only the copy failed, the events are there already.
        probes = [record for record in filter(is_probe, records) if record["seq"] > self._seq]
        if probes:
            self._append(probes)
        if self._mirror is not None and self._file is not None:
            self._mirror.put(self._path)

    def _append(self, probes: Sequence[ProbeRecord]) -> None:
        from foldmon.exporters.events import encoded, events_of, version

        file = self._opened()
        events = [] if self._last_step is not None else [version()]
        last = self._last_step
        for record in probes:
            # A resumed run repeats steps, of this file or of an earlier one.
            restarts = last is None or record["step"] <= last
            last = record["step"]
            numbers, pictures = scalars(record, self._charts.of(record)), self._pictures.of(record)
            events += events_of(record, numbers, pictures, restarts)
        append_whole(file, encoded(events))
        self._last_step, self._seq = last, probes[-1]["seq"]

    def finish(self, journal: Path, write_report: WriteReport) -> None:
        """Copy the journal to where the events were copied."""
        if self._mirror is not None:
            self._mirror.put(journal)

    def lost(self) -> bool:
        """Whether the event file was removed while it was open; the next ``write`` begins another one."""
        if self._file is None or is_at(self._file, self._path):
            return False
        self.close()
        self._last_step, self._seq = None, -1
        return True

    def close(self) -> None:
        """Close the event file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _opened(self) -> int:
        if self._file is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            stamp = f"{time.time():.6f}.{socket.gethostname()}.{os.getpid()}"
            self._path = self.folder / f"events.out.tfevents.{stamp}"
            self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        return self._file


def _import_ahead() -> None:
    """Import what writing needs before training begins: an import in another thread makes training wait."""
    with contextlib.suppress(Exception):  # writing says what is wrong
        import foldmon.exporters.events  # noqa: F401
