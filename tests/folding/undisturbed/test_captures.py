"""While a graph is captured in any thread, a probe waits; a capture waits for a probe's pass."""

from __future__ import annotations

import threading

import pytest
import torch

from foldmon.folding.undisturbed import captures
from foldmon.folding.undisturbed.captures import Gate, heed_captures
from tests.fixtures.fake_device import FakeDeviceModule


@pytest.fixture
def fake(monkeypatch) -> FakeDeviceModule:
    module = FakeDeviceModule()
    monkeypatch.setattr(torch, "xpu", module)
    monkeypatch.setattr(captures, "GATE", Gate())
    heed_captures("xpu")
    return module


def probe(fake: FakeDeviceModule, passes: list[threading.Event], began: threading.Event) -> threading.Thread:
    """A thread that measures, one pass each time that an event is set."""

    def run() -> None:
        with captures.GATE.working():
            for number, allowed in enumerate(passes):
                captures.GATE.give_way()
                fake.note(f"pass {number} begins")
                began.set()
                allowed.wait(10)
                fake.note(f"pass {number} ends")

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def test_a_capture_waits_for_the_pass_and_the_next_pass_for_the_capture(fake):
    allowed, began = [threading.Event(), threading.Event()], threading.Event()
    thread = probe(fake, allowed, began)
    assert began.wait(10)
    graph = fake.XPUGraph()
    threading.Timer(0.05, allowed[0].set).start()
    graph.capture_begin()
    fake.note("captured work")
    graph.capture_end()
    allowed[1].set()
    thread.join(10)
    assert [what for what, _ in fake.calls()] == [
        "pass 0 begins", "pass 0 ends", "begin capture", "captured work", "end capture",
        "pass 1 begins", "pass 1 ends",
    ]  # fmt: skip


def test_a_capture_that_fails_to_begin_holds_no_probe_up(fake):
    with pytest.raises(RuntimeError, match="no capture"):
        fake.XPUGraph().capture_begin(fails=True)
    with captures.GATE.working():
        captures.GATE.give_way()


def test_a_model_that_captures_inside_a_probe_waits_for_nothing(fake):
    with captures.GATE.working():
        graph = fake.XPUGraph()
        graph.capture_begin()
        graph.capture_end()


def test_a_capture_that_never_ends_fails_the_probe(fake, monkeypatch):
    monkeypatch.setattr(captures, "_PATIENCE", 0.01)
    fake.XPUGraph().capture_begin()
    with pytest.raises(RuntimeError, match="does not end"), captures.GATE.working():
        pass


def test_captures_are_heeded_once_however_often_models_are_watched(fake):
    own = fake.XPUGraph.capture_begin
    heed_captures("xpu")
    assert fake.XPUGraph.capture_begin is own
