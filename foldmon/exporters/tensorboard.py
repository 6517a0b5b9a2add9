"""TensorBoard: one event a probe, in a sub-run of its own."""

from __future__ import annotations

import io
import os
import re
import socket
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from foldmon.exporters.base import WriteReport
from foldmon.exporters.charts import Charts
from foldmon.exporters.pictures import Pictures
from foldmon.exporters.remote import Mirror, is_remote
from foldmon.exporters.scalars import scalars
from foldmon.journal.files import append_whole, is_at
from foldmon.journal.finding import SUBRUN, local, run_folder
from foldmon.journal.schema import ProbeRecord, Record, WarningEvent, is_probe
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
        file = self._opened()
        events = [] if self._last_step is not None else [_version()]
        last = self._last_step
        for record in probes:
            events += self._events(record, last)
            last = record["step"]
        append_whole(file, _encoded(events))
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

    def _events(self, record: ProbeRecord, last: int | None) -> Iterable[Any]:
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.compat.proto.summary_pb2 import Summary

        when, step = record["time_ms"] / 1000, record["step"]
        restarts = last is None or step <= last
        if restarts:
            # A resumed run repeats steps, of this file or of an earlier one: readers drop the old ones.
            yield Event(wall_time=when, step=step, session_log=SessionLog(status=SessionLog.START))
        numbers = scalars(record, self._charts.of(record))
        values = [Summary.Value(tag=tag, simple_value=value) for tag, value in numbers.items()]
        yield Event(wall_time=when, step=step, summary=Summary(value=values))
        if restarts:
            yield Event(wall_time=when, step=step, summary=_layout())
            yield Event(wall_time=when, step=step, summary=_tab())
        if pictures := self._pictures.of(record):
            values = [Summary.Value(tag=tag, image=_image(png)) for tag, png in pictures.items()]
            yield Event(wall_time=when, step=step, summary=Summary(value=values))
        if (warning := record["warning"]["event"]) is not None:
            yield Event(wall_time=when, step=step, summary=_warning_text(warning))


def _image(png: bytes) -> Any:
    from PIL import Image
    from tensorboard.compat.proto.summary_pb2 import Summary

    width, height = Image.open(io.BytesIO(png)).size
    return Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=png)


def _version() -> Any:
    from tensorboard.compat.proto.event_pb2 import Event

    return Event(wall_time=time.time(), file_version="brain.Event:2")


def _encoded(events: Iterable[Any]) -> bytes:
    from tensorboard.summary.writer.record_writer import RecordWriter

    buffer = io.BytesIO()
    writer = RecordWriter(buffer)
    for event in events:
        writer.write(event.SerializeToString())
    return buffer.getvalue()


def _layout() -> Any:
    """Charts of the Custom Scalars tab: what has an interval in it, then all layers in one chart each."""
    from torch.utils.tensorboard.summary import custom_scalars

    charts = {
        "phi, 95% interval": _margin("folding", "network"),
        "held-out accuracy, 95% interval": _margin("heldout", "accuracy"),
        "held-out loss, 95% interval": _margin("heldout", "loss"),
        "folding by layer": _lines("folding/layer/"),
        "cumulative folding: the depth profile": _lines("folding/cumulative/"),
        "decision folding": _lines("folding/decision/"),
    }
    return custom_scalars({"folding": charts})  # type: ignore[no-untyped-call]


def _margin(group: str, name: str) -> list[Any]:
    return ["Margin", [f"{group}/{name}", f"{group}_ci/{name}_lower", f"{group}_ci/{name}_upper"]]


def _lines(prefix: str) -> list[Any]:
    # The dashboard takes tags as patterns and matches from the start: whatever begins so is shown.
    return ["Multiline", [re.escape(prefix)]]


def _tab() -> Any:
    """A value of the Folding tab's plugin: where TensorBoard meets one, it shows the tab."""
    from tensorboard.compat.proto.summary_pb2 import DATA_CLASS_TENSOR
    from tensorboard.plugins.text.summary_v2 import text_pb

    summary = text_pb("folding/tab", "The tab reads the journal beside this file.")
    summary.value[0].metadata.plugin_data.plugin_name = "foldmon"
    # The class of data, which TensorBoard knows by itself for its own plugins only.
    summary.value[0].metadata.data_class = DATA_CLASS_TENSOR
    return summary


def _warning_text(warning: WarningEvent) -> Any:
    from tensorboard.plugins.text.summary_v2 import text_pb

    lines = [f"**severity {warning['severity']}** since step {warning['step']}", ""]
    lines += [f"- {reason}" for reason in warning["reasons"]]
    return text_pb("folding/events", "\n".join(lines))
