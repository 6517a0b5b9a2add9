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

from foldmon.exporters.charts import Charts
from foldmon.exporters.pictures import Pictures
from foldmon.exporters.scalars import scalars
from foldmon.journal.files import append_whole
from foldmon.journal.schema import Record

SUBRUN = "foldmon"


class TensorBoardExporter:
    """Writes to ``<log_dir>/foldmon``, never into the run folder itself.

    Two event files in one run folder can freeze the curves of the other writer (TensorBoard reads one of
    them only), so foldmon keeps to a sub-run.

    Args:
        log_dir: a run's folder, as given to ``SummaryWriter``.
        layers: layers with a chart of their own at most (the Folding tab shows all); of more, those that
            change most in the first probes. None charts all.

    Example:
        >>> import tempfile
        >>> TensorBoardExporter(tempfile.gettempdir()).folder.name
        'foldmon'
    """

    name = "tensorboard"

    def __init__(self, log_dir: str | os.PathLike[str], layers: int | None = 12) -> None:
        self._charts = Charts(layers)
        self._pictures = Pictures()
        self.folder = Path(log_dir) / SUBRUN
        self._file: int | None = None
        self._last_step: int | None = None  # of what is in the file

    def write(self, records: Sequence[Record]) -> None:
        """Append one event a probe and make them visible.

        Raises:
            OSError: the folder or the disk does not take them; nothing of the batch is left in the file.
        """
        probes = [record for record in records if record["kind"] == "probe"]
        if not probes:
            return
        file = self._opened()
        events = [] if self._last_step is not None else [_version()]
        last = self._last_step
        for record in probes:
            events += self._events(record, last)
            last = record["step"]
        append_whole(file, _encoded(events))
        self._last_step = last

    def close(self) -> None:
        """Close the event file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _opened(self) -> int:
        if self._file is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            stamp = f"{time.time():.6f}.{socket.gethostname()}.{os.getpid()}"
            path = self.folder / f"events.out.tfevents.{stamp}"
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        return self._file

    def _events(self, record: Record, last: int | None) -> Iterable[Any]:
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
    """Charts of the Custom Scalars tab: phi in its interval, then all layers in one chart each."""
    from tensorboard.plugins.custom_scalar import layout_pb2 as layout

    margin = layout.MarginChartContent.Series(
        value="folding/network",
        lower="folding_ci/network_lower",
        upper="folding_ci/network_upper",
    )
    charts = [
        layout.Chart(title="phi, 95% interval", margin=layout.MarginChartContent(series=[margin])),
        _lines("folding by layer", "folding/layer/"),
        _lines("cumulative folding: the depth profile", "folding/cumulative/"),
        _lines("decision folding", "folding/decision/"),
    ]
    category = layout.Category(title="folding", chart=charts)
    content = layout.Layout(category=[category]).SerializeToString()
    return _string_summary("custom_scalars__config__", "custom_scalars", content)


def _lines(title: str, prefix: str) -> Any:
    from tensorboard.plugins.custom_scalar import layout_pb2 as layout

    # The dashboard takes tags as patterns and matches from the start: whatever begins so is shown.
    return layout.Chart(title=title, multiline=layout.MultilineChartContent(tag=[re.escape(prefix)]))


def _tab() -> Any:
    """A value of the Folding tab's plugin: where TensorBoard meets one, it shows the tab."""
    from tensorboard.compat.proto.summary_pb2 import DATA_CLASS_TENSOR

    summary = _string_summary("folding/tab", "foldmon", b"The tab reads the journal beside this file.")
    # The class of data, which TensorBoard knows by itself for its own plugins only.
    summary.value[0].metadata.data_class = DATA_CLASS_TENSOR
    return summary


def _warning_text(warning: Record) -> Any:
    lines = [f"**severity {warning['severity']}** since step {warning['step']}", ""]
    lines += [f"- {reason}" for reason in warning["reasons"]]
    return _string_summary("folding/events", "text", "\n".join(lines).encode())


def _string_summary(tag: str, plugin: str, content: bytes) -> Any:
    from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
    from tensorboard.compat.proto.tensor_pb2 import TensorProto
    from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
    from tensorboard.compat.proto.types_pb2 import DT_STRING

    shape = TensorShapeProto(dim=[TensorShapeProto.Dim(size=1)])
    tensor = TensorProto(dtype=DT_STRING, string_val=[content], tensor_shape=shape)
    metadata = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name=plugin))
    return Summary(value=[Summary.Value(tag=tag, metadata=metadata, tensor=tensor)])
