"""What is charged to the contract: all that training stood still for, and all that computed beside it."""

from __future__ import annotations

import time

import pytest

import foldmon
from foldmon.journal.following import read_journal
from tests.training_loop import train


def costs(monitor: foldmon.Monitor) -> list[dict]:
    return [r["monitor"] for r in read_journal(monitor.journal_path) if r["kind"] == "probe"]


@pytest.mark.parametrize("background", [True, False])
def test_the_standstill_of_training_is_charged(mlp, held_out, background, monkeypatch):
    monitor = foldmon.watch(mlp, held_out, every=1, background=background, exporters=[])
    monitor.flush()
    snapshot = monitor._subject.snapshot

    def slow() -> None:
        time.sleep(1.0)
        snapshot()

    monkeypatch.setattr(monitor._subject, "snapshot", slow)
    train(mlp, 1)
    monitor.flush()
    before, after = costs(monitor)
    assert after["stall_seconds"] >= 1.0
    assert after["cost_seconds"] >= before["cost_seconds"] + after["stall_seconds"]


def test_what_exporters_compute_is_charged_with_the_next_probe(mlp, held_out):
    def busy(values: dict[str, float], step: int) -> None:
        until = time.thread_time() + 0.5
        while time.thread_time() < until:
            pass

    monitor = foldmon.watch(mlp, held_out, every=1, exporters=[busy])
    monitor.flush()
    train(mlp, 1)
    monitor.flush()
    before, after = costs(monitor)
    assert after["cost_seconds"] >= before["cost_seconds"] + 0.5
    assert monitor.overhead > 0
