"""TensorBoard's events: what becomes of a probe in its format.

Imported where a run begins, see :class:`foldmon.exporters.tensorboard.TensorBoardExporter`: no other module
needs TensorBoard and what comes with it.
"""

from __future__ import annotations

import io
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from PIL import Image
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import DATA_CLASS_TENSOR, Summary
from tensorboard.plugins.text.summary_v2 import text_pb
from tensorboard.summary.writer.record_writer import RecordWriter
from torch.utils.tensorboard.summary import custom_scalars

from foldmon.journal.schema import ProbeRecord, WarningEvent

Image.preinit()  # what writes PNGs


def version() -> Any:
    """The event that a file begins with."""
    return Event(wall_time=time.time(), file_version="brain.Event:2")


def events_of(
    record: ProbeRecord, numbers: Mapping[str, float], pictures: Mapping[str, bytes], restarts: bool
) -> Iterator[Any]:
    """What TensorBoard shows of a probe.

    Args:
        record: of the journal.
        numbers: its scalars, by tag.
        pictures: PNGs, by tag.
        restarts: whether readers are to drop what they have of this step and of later ones.
    """
    when, step = record["time_ms"] / 1000, record["step"]
    if restarts:
        yield Event(wall_time=when, step=step, session_log=SessionLog(status=SessionLog.START))
    values = [Summary.Value(tag=tag, simple_value=value) for tag, value in numbers.items()]
    yield Event(wall_time=when, step=step, summary=Summary(value=values))
    if restarts:
        yield Event(wall_time=when, step=step, summary=_layout())
        yield Event(wall_time=when, step=step, summary=_tab())
    if pictures:
        values = [Summary.Value(tag=tag, image=_image(png)) for tag, png in pictures.items()]
        yield Event(wall_time=when, step=step, summary=Summary(value=values))
    if (warning := record["warning"]["event"]) is not None:
        yield Event(wall_time=when, step=step, summary=_warning_text(warning))


def encoded(events: Iterable[Any]) -> bytes:
    """The events as a file holds them."""
    buffer = io.BytesIO()
    writer = RecordWriter(buffer)
    for event in events:
        writer.write(event.SerializeToString())
    return buffer.getvalue()


def _image(png: bytes) -> Any:
    width, height = Image.open(io.BytesIO(png)).size
    return Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=png)


def _layout() -> Any:
    """Charts of the Custom Scalars tab: what has an interval in it, then all layers in one chart each."""
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
    summary = text_pb("folding/tab", "The tab reads the journal beside this file.")
    summary.value[0].metadata.plugin_data.plugin_name = "foldmon"
    # The class of data, which TensorBoard knows by itself for its own plugins only.
    summary.value[0].metadata.data_class = DATA_CLASS_TENSOR
    return summary


def _warning_text(warning: WarningEvent) -> Any:
    lines = [f"**severity {warning['severity']}** since step {warning['step']}", ""]
    lines += [f"- {reason}" for reason in warning["reasons"]]
    return text_pb("folding/events", "\n".join(lines))
