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


def test_comparing_the_copy_with_the_model_is_charged_but_tells_no_price(mlp, held_out, monkeypatch):
    """Few probes have it: as part of their price it would keep the next ones waiting."""
    monitor = foldmon.watch(mlp, held_out, every=1, exporters=[])
    compared = []

    def slow(strategy: object) -> None:
        compared.append(strategy)
        time.sleep(1.0)

    monkeypatch.setattr(monitor._subject, "_compare", slow)
    for _ in range(4):
        train(mlp, 1)
        assert monitor.flush()
    contract, timetable = monitor._contract, monitor._timetable
    assert compared
    assert contract.cost >= len(compared) * 1.0
    assert contract.price(timetable.rows(timetable.whole)) < 0.5
