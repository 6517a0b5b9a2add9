from __future__ import annotations

import functools
import threading

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import foldmon
from foldmon.exporters.callables import CallableExporter
from foldmon.exporters.scalars import scalars
from foldmon.journal.following import read_journal
from tests.exporters.examples import probe, start
from tests.training_loop import train


class Tracker:
    """A client of a tracking service, as it might be."""

    def __init__(self) -> None:
        self.seen: list[tuple[dict[str, float], int]] = []

    def take(self, values: dict[str, float], step: int) -> None:
        self.seen.append((values, step))

    __call__ = take

    @property
    def steps(self) -> list[int]:
        return [step for _, step in self.seen]


def plain(tracker: Tracker):
    def send(values, step):
        tracker.take(values, step)

    return send


KINDS = {
    "send": plain,
    "<lambda>": lambda tracker: lambda values, step: tracker.take(values, step),
    "take": lambda tracker: tracker.take,
    "Tracker": lambda tracker: tracker,
    "partial": lambda tracker: functools.partial(tracker.take),
}


def test_any_function_gets_every_probe(mlp, held_out, tmp_path):
    trackers = {kind: Tracker() for kind in KINDS}
    functions = [KINDS[kind](tracker) for kind, tracker in trackers.items()]
    options = {"every": 5, "background": False, "exporters": [*functions, "tensorboard"]}
    with foldmon.watch(mlp, held_out, log_dir=tmp_path, **options) as monitor:
        monitor.log(val_loss=0.5)
        train(mlp, 10)
    start, *rest = read_journal(monitor.journal_path)
    assert start["config"]["exporters"] == [*KINDS, "tensorboard"]
    records = [record for record in rest if record["kind"] == "probe"]
    for tracker in trackers.values():
        assert tracker.seen == [(scalars(record), record["step"]) for record in records]
    named = set().union(*(values for values, _ in trackers["send"].seen))
    assert {"folding/network", "folding/layer/01.3", "folding/warning/level", "val_loss"} <= named
    shown = EventAccumulator(str(tmp_path / "foldmon")).Reload().Tags()["scalars"]
    assert set(shown) == named, "the same names as in TensorBoard"
    cursors = {path.name.split(".")[3] for path in tmp_path.rglob("*.cursor")}
    assert cursors == {"send", "_lambda_", "take", "Tracker", "partial", "tensorboard"}


def test_one_function_alone_is_called_outside_of_the_training_thread(mlp, held_out, tmp_path):
    threads = []

    def note(values, step):
        threads.append(threading.current_thread())

    with foldmon.watch(mlp, held_out, exporters=note, log_dir=tmp_path) as monitor:
        monitor.probe()
    assert threads
    assert threading.current_thread() not in threads


def test_one_that_fails_is_said_once_and_gets_everything_later(mlp, held_out, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr("foldmon.exporters.delivery._FIRST_PAUSE", 0.01)
    failures, tracker = iter(range(3)), Tracker()

    def send(values, step):
        if next(failures, None) is not None:
            raise ConnectionError("away")
        tracker.take(values, step)

    with foldmon.watch(mlp, held_out, every=5, background=False, exporters=send, log_dir=tmp_path) as monitor:
        train(mlp, 10)
        assert monitor.flush()
    assert tracker.steps == [0, 5, 10]
    assert caplog.text.count("the send exporter failed (ConnectionError: away)") == 1


def test_of_a_batch_that_failed_midway_the_rest_is_given():
    tracker, failures = Tracker(), iter([None])

    def fails_at_one(values, step):
        if step == 1:
            for _ in failures:
                raise ConnectionError("away")
        tracker.take(values, step)

    exporter = CallableExporter(fails_at_one)
    records = [start(), probe(0), probe(1), probe(2)]
    with pytest.raises(ConnectionError):
        exporter.write(records)
    exporter.write(records)
    assert tracker.steps == [0, 1, 2]


def test_two_of_one_name_have_a_cursor_each(mlp, held_out, tmp_path):
    trackers = Tracker(), Tracker()
    with foldmon.watch(mlp, held_out, exporters=[*map(plain, trackers)], log_dir=tmp_path) as monitor:
        monitor.probe()
    assert trackers[0].steps == trackers[1].steps != []
    assert len(list(tmp_path.rglob("*.send*.cursor"))) == 2


def bare(values): ...


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (bare, r"called as f\(values, step\): bare"),
        (Tracker, r"not a class: give Tracker\(\.\.\.\)"),
        (torch.ones(1), "got Tensor"),
    ],
    ids=["too few arguments", "a class", "no function"],
)
def test_what_cannot_be_called_so_is_refused_at_once(mlp, held_out, wrong, said):
    with pytest.raises(TypeError, match=said):
        foldmon.watch(mlp, held_out, exporters=[wrong])
