from __future__ import annotations

import ast
import re
import subprocess
import sys

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from tensorboard.compat.proto.event_pb2 import SessionLog
from tensorboard.plugins.custom_scalar import layout_pb2
from torch import nn

import foldmon
from foldmon.exporters.scalars import scalars
from foldmon.journal import files
from tests.exporters.examples import probe, start
from tests.training_loop import train


def read(folder) -> EventAccumulator:
    return EventAccumulator(str(folder), {"scalars": 0, "tensors": 0}).Reload()


def test_every_number_arrives_at_its_step(tmp_path):
    exporter = foldmon.TensorBoardExporter(tmp_path / "run")
    records = [probe(step, phi=0.01 * step) for step in (0, 10, 20)]
    exporter.write([start(), *records[:2]])
    exporter.write(records[2:])
    events = read(tmp_path / "run" / "foldmon")
    for record in records:
        for tag, value in scalars(record).items():
            found = {e.step: e.value for e in events.Scalars(tag)}
            assert found[record["step"]] == pytest.approx(value, rel=1e-6)
    assert [e.wall_time for e in events.Scalars("folding/network")] == [
        record["time_ms"] / 1000 for record in records
    ]
    exporter.close()


def test_nothing_is_written_into_the_users_own_run_folder(tmp_path):
    exporter = foldmon.TensorBoardExporter(tmp_path)
    exporter.write([probe(0)])
    assert [path.name for path in tmp_path.iterdir()] == ["foldmon"]
    exporter.close()


def test_the_custom_layout_has_phi_in_its_interval_and_every_layer(tmp_path):
    exporter = foldmon.TensorBoardExporter(tmp_path)
    exporter.write([probe(0)])
    exporter.write([probe(1)])
    events = read(tmp_path / "foldmon").Tensors("custom_scalars__config__")
    assert len(events) == 1, "the layout is written once"
    layout = layout_pb2.Layout.FromString(events[0].tensor_proto.string_val[0])
    charts = layout.category[0].chart
    assert charts[0].margin.series[0].value == "folding/network"
    shown = read(tmp_path / "foldmon").Tags()["scalars"]
    patterns = [pattern for chart in charts[1:] for pattern in chart.multiline.tag]
    assert all(any(re.match(pattern, tag) for tag in shown) for pattern in patterns)
    exporter.close()


def test_a_warning_is_a_level_and_a_text(tmp_path):
    exporter = foldmon.TensorBoardExporter(tmp_path)
    exporter.write([probe(5, event={"step": 5, "severity": 2, "reasons": ["phi grew"]})])
    events = read(tmp_path / "foldmon")
    assert events.Scalars("folding/warning/level")[0].value == 2
    assert b"phi grew" in events.Tensors("folding/events")[0].tensor_proto.string_val[0]
    exporter.close()


def test_repeated_records_after_a_restart_are_shown_once(tmp_path):
    first = foldmon.TensorBoardExporter(tmp_path)
    first.write([probe(step) for step in range(5)])
    first.close()
    again = foldmon.TensorBoardExporter(tmp_path)
    again.write([probe(step) for step in range(3, 8)])
    again.close()
    steps = [event.step for event in read(tmp_path / "foldmon").Scalars("folding/network")]
    assert steps == list(range(8))


def test_a_deep_model_gets_few_charts_which_then_stay(tmp_path):
    exporter = foldmon.TensorBoardExporter(tmp_path, layers=5)
    exporter.write([probe(step, phi=0.01 * step, layers=200) for step in range(10)])
    exporter.close()
    events = read(tmp_path / "foldmon")
    charts = [tag for tag in events.Tags()["scalars"] if tag.startswith("folding/layer/")]
    assert len(charts) == 5
    assert all(len(events.Scalars(tag)) == 7 for tag in charts)
    assert len(events.Scalars("folding/network")) == 10


def test_a_file_begins_with_version_and_start_also_where_the_first_write_failed(tmp_path, monkeypatch):
    real, calls = files.append_whole, []

    def full_at_first(file, data):
        calls.append(data)
        if len(calls) <= 2:
            raise OSError(28, "No space left on device")
        real(file, data)

    monkeypatch.setattr("foldmon.exporters.tensorboard.append_whole", full_at_first)
    exporter = foldmon.TensorBoardExporter(tmp_path)
    for failed in ([probe(0)], [probe(0), probe(1)]):
        with pytest.raises(OSError, match="No space"):
            exporter.write(failed)
    exporter.write([probe(0), probe(1)])
    exporter.write([probe(2)])
    exporter.close()
    [file] = (tmp_path / "foldmon").glob("events.*")
    events = list(EventFileLoader(str(file)).Load())
    assert events[0].file_version == "brain.Event:2"
    assert [e.session_log.status for e in events if e.HasField("session_log")] == [SessionLog.START]
    assert events[1].HasField("session_log")
    assert events[1].step == 0
    assert [e.step for e in read(tmp_path / "foldmon").Scalars("folding/network")] == [0, 1, 2]


def test_records_that_are_in_the_file_are_not_written_again(tmp_path):
    exporter = foldmon.TensorBoardExporter(tmp_path)
    exporter.write([probe(0), probe(1)])
    exporter.write([probe(0), probe(1), probe(2)])  # as where only a copy to elsewhere has failed
    exporter.close()
    [file] = (tmp_path / "foldmon").glob("events.*")
    events = list(EventFileLoader(str(file)).Load())
    assert sum(event.HasField("session_log") for event in events) == 1
    assert [e.step for e in read(tmp_path / "foldmon").Scalars("folding/network")] == [0, 1, 2]


def test_a_run_that_was_set_back_to_the_step_it_had_reached_begins_a_session(tmp_path):
    """Else a reader shows two values of one step."""
    exporter = foldmon.TensorBoardExporter(tmp_path)
    exporter.write([probe(0), probe(5, phi=0.01), {**probe(5, phi=0.02), "seq": 7}])
    exporter.close()
    [file] = (tmp_path / "foldmon").glob("events.*")
    events = list(EventFileLoader(str(file)).Load())
    assert [event.step for event in events if event.HasField("session_log")] == [0, 5]
    found = read(tmp_path / "foldmon").Scalars("folding/network")
    assert [(event.step, round(event.value, 3)) for event in found] == [(0, 0.02), (5, 0.02)]


def test_images_come_at_doubling_probes(tmp_path):
    exporter = foldmon.TensorBoardExporter(tmp_path)
    exporter.write([probe(step) for step in range(20)])
    exporter.close()
    events = read(tmp_path / "foldmon")
    for tag in ("folding/class_pairs", "folding/depth_by_time"):
        images = events.Images(tag)
        assert {image.step for image in images} <= {0, 1, 3, 7, 15}
        assert len(images) >= 4, "the accumulator keeps four by default"
        assert all(image.encoded_image_string[1:4] == b"PNG" and image.width >= 320 for image in images)


def test_a_resumed_run_goes_on_with_the_charts_it_had(tmp_path, held_out):
    model = nn.Sequential(*(part for _ in range(16) for part in (nn.Linear(8, 8), nn.ReLU())))
    steps = []
    for begin in (0, 40):
        options = {"every": 10, "step": begin, "background": False, "exporters": "tensorboard"}
        with foldmon.watch(model, held_out, log_dir=tmp_path, **options) as monitor:
            train(model, 40, torch.optim.SGD(model.parameters(), lr=0.5))
        # As if the model were another by now: a choice of its own would differ.
        nn.init.normal_(model[2 if begin else 20].weight)
        steps += [report.step for report in monitor.history]
    events = read(tmp_path / "foldmon")
    charts = [tag for tag in events.Tags()["scalars"] if tag.startswith("folding/layer/")]
    assert len(charts) == 12
    settled = sorted(set(steps))[3:]
    assert all([event.step for event in events.Scalars(tag)] == settled for tag in charts)


AFTER_WATCH = """
import sys, torch, foldmon
from torch import nn
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
optimizer.step()
held_out = torch.randn(64, 8), torch.arange(64) % 2
with foldmon.watch(model, held_out, log_dir=sys.argv[1]) as monitor:
    before = set(sys.modules)
    for step in range(20):
        model(torch.randn(16, 8)).square().mean().backward()
        optimizer.step()
        assert monitor.flush()
    print(len(monitor.history), sorted(set(sys.modules) - before))
"""


def test_nothing_is_imported_while_the_model_trains(tmp_path):
    """An import in another thread makes training wait, and takes a tenth of the allowance."""
    run = subprocess.run(
        [sys.executable, "-c", AFTER_WATCH, str(tmp_path)], capture_output=True, text=True, timeout=120
    )
    assert run.returncode == 0, run.stderr
    points, modules = run.stdout.split(maxsplit=1)
    assert int(points) > 3, "pictures are written too"
    assert ast.literal_eval(modules) == []
