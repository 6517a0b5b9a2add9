from __future__ import annotations

import threading
import time

import pytest

import foldmon
from foldmon.exporters.base import PermanentError
from foldmon.exporters.delivery import Delivery
from foldmon.exporters.output import Output
from foldmon.exporters.scalars import scalars
from foldmon.journal.following import Tail
from foldmon.journal.writing import JSONLExporter
from tests.exporters.examples import held_out, probe


class Backend:
    """Keeps the steps it gets; raises ``error`` at its first ``failures`` calls."""

    name = "backend"

    def __init__(self, failures: int = 0, error: BaseException | None = None) -> None:
        self.failures, self.error = failures, error or ConnectionError("away")
        self.steps: list[int] = []
        self.closed = 0
        self.calls = 0

    def write(self, records) -> None:
        self.calls += 1
        if self.calls <= self.failures:
            raise self.error
        self.steps += [record["step"] for record in records]

    def close(self) -> None:
        self.closed += 1


def no_report(journal, page) -> None:
    raise AssertionError("nobody asks for one")


def wait_until(condition) -> None:
    until = time.monotonic() + 60
    while not condition() and time.monotonic() < until:
        time.sleep(0.01)
    assert condition()


def delivery_to(backend, journal, write_report=no_report) -> Delivery:
    return Delivery(backend, journal.path, write_report)


@pytest.fixture
def journal(tmp_path):
    journal = JSONLExporter(tmp_path / "journal.jsonl")
    yield journal
    journal.close()


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch):
    monkeypatch.setattr("foldmon.exporters.delivery._FIRST_PAUSE", 0.01)


def test_everything_arrives_in_order(journal):
    backend = Backend()
    delivery = delivery_to(backend, journal)
    for step in range(20):
        journal.write([probe(step)])
        delivery.notify()
    assert delivery.flush(10)
    assert backend.steps == list(range(20))
    assert delivery.close(10)
    assert backend.closed == 1


@pytest.mark.parametrize("error", [ConnectionError("away"), SystemExit(1), MemoryError()])
def test_a_backend_that_comes_back_misses_nothing(journal, caplog, error):
    backend = Backend(failures=4, error=error)
    delivery = delivery_to(backend, journal)
    for step in range(5):
        journal.write([probe(step)])
        delivery.notify()
    assert delivery.flush(10)
    assert backend.steps == list(range(5))
    assert caplog.text.count("exporter failed") == 1
    assert caplog.text.count("exporter works again") == 1
    delivery.close(10)


class Pauses(threading.Condition):
    """Takes down how long its owner means to pause, and lets it go on at once, ``enough`` times."""

    def __init__(self, enough: int) -> None:
        super().__init__()
        self.meant: list[float] = []
        self.enough = enough
        self.over = threading.Event()

    def wait_for(self, predicate, timeout=None):
        if timeout is None or len(self.meant) >= self.enough:
            self.over.set()
            return super().wait_for(predicate, timeout)
        self.meant.append(timeout)
        return predicate()


def test_a_dead_backend_is_left_longer_and_longer_but_never_for_more_than_half_a_minute(journal, monkeypatch):
    monkeypatch.setattr("foldmon.exporters.delivery._FIRST_PAUSE", 0.5)
    backend = Backend(failures=10**6)
    delivery = delivery_to(backend, journal)
    delivery._changed = pauses = Pauses(200)
    pauses.over.clear()
    journal.write([probe(0)])
    delivery.notify()
    until = time.monotonic() + 60
    while len(pauses.meant) < 200 and time.monotonic() < until:
        time.sleep(0.01)
    assert pauses.meant == [0.5, 1, 2, 4, 8, 16] + [30] * 194
    backend.failures = 0
    assert delivery.close(10)


def test_the_pauses_begin_anew_once_a_backend_has_answered(journal, monkeypatch):
    monkeypatch.setattr("foldmon.exporters.delivery._FIRST_PAUSE", 0.5)
    backend = Backend(failures=3)
    delivery = delivery_to(backend, journal)
    delivery._changed = pauses = Pauses(5)
    journal.write([probe(0)])
    delivery.notify()
    until = time.monotonic() + 60
    while backend.steps != [0] and time.monotonic() < until:
        time.sleep(0.01)
    backend.failures, backend.calls = 2, 0
    journal.write([probe(1)])
    delivery.notify()
    while backend.steps != [0, 1] and time.monotonic() < until:
        time.sleep(0.01)
    assert pauses.meant == [0.5, 1, 2, 0.5, 1]
    delivery.close(10)


@pytest.mark.parametrize("by", ["flush", "close"])
def test_who_waits_has_a_failing_backend_tried_at_once(journal, monkeypatch, by):
    monkeypatch.setattr("foldmon.exporters.delivery._FIRST_PAUSE", 3600.0)
    backend = Backend(failures=1)
    delivery = delivery_to(backend, journal)
    journal.write([probe(0)])
    delivery.notify()
    until = time.monotonic() + 60
    while not delivery._failing and time.monotonic() < until:
        time.sleep(0.01)
    assert backend.steps == []
    assert getattr(delivery, by)(60)
    assert backend.steps == [0]
    delivery.close(10)


def test_flush_goes_on_trying_while_there_is_time(journal, monkeypatch):
    monkeypatch.setattr("foldmon.exporters.delivery._FIRST_PAUSE", 3600.0)
    monkeypatch.setattr("foldmon.exporters.delivery._WHILE_WAITED_FOR", 0.01)
    backend = Backend(failures=4)
    delivery = delivery_to(backend, journal)
    journal.write([probe(0)])
    delivery.notify()
    assert delivery.flush(60)
    assert backend.steps == [0]
    assert backend.calls == 5
    delivery.close(10)


def test_an_exporter_of_ours_gets_no_lists_of_paths_and_one_of_the_users_gets_all(journal):
    class Ours(Backend):
        unread = foldmon.ConsoleExporter.unread

    record = probe(0) | {"path_r1": [[1.0] * 3] * 64, "held_out": held_out()}
    for backend, whole in ((Ours(), False), (Backend(), True)):
        backend.write = lambda records, taken=(taken := []): taken.extend(records)
        delivery = delivery_to(backend, journal)
        delivery._tail.offset = 0
        journal.write([record | {"seq": 1 + whole}])
        delivery.notify()
        assert delivery.close(10)
        assert ("path_r1" in taken[-1], "network_r1" in taken[-1]) == (whole, whole)
        assert ("losses" in taken[-1]["held_out"]) is whole
        assert scalars(taken[-1]) == scalars(record)
        assert len(taken[-1]["held_out"]["measured"]) == 2


def test_flush_waits_for_a_write_under_way(journal):
    entered, release = threading.Event(), threading.Event()

    class Slow(Backend):
        def write(self, records) -> None:
            entered.set()
            release.wait(10)
            super().write(records)

    backend = Slow()
    delivery = delivery_to(backend, journal)
    journal.write([probe(0)])
    delivery.notify()
    assert entered.wait(10)
    assert not delivery.flush(0.05)
    release.set()
    assert delivery.flush(10)
    assert backend.steps == [0]
    delivery.close(10)


def test_closing_does_not_wait_for_a_backend_that_hangs(journal):
    release = threading.Event()

    class Hanging(Backend):
        def write(self, records) -> None:
            release.wait(60)

    delivery = delivery_to(Hanging(), journal)
    journal.write([probe(0)])
    delivery.notify()
    began = time.monotonic()
    assert not delivery.close(0.2)
    assert time.monotonic() - began < 30, "the backend itself hangs for a minute"
    release.set()


def test_a_permanent_error_ends_the_delivery(journal, caplog):
    backend = Backend(failures=10**6, error=PermanentError("the run was deleted"))
    delivery = delivery_to(backend, journal)
    journal.write([probe(0)])
    delivery.notify()
    assert not delivery.flush(10)
    assert backend.calls == 1
    assert "given up: the run was deleted" in caplog.text
    assert not delivery.close(10)


def test_what_a_process_could_not_deliver_the_next_one_does(journal):
    dead = delivery_to(Backend(failures=10**6), journal)
    journal.write([probe(0), probe(1)])
    dead.notify()
    assert not dead.close(10)
    again = Backend()
    delivery = delivery_to(again, journal)
    journal.write([probe(2)])
    delivery.notify()
    assert delivery.close(10)
    assert again.steps == [0, 1, 2]


def test_what_was_delivered_is_not_delivered_by_the_next_process(journal):
    for step in range(3):
        backend = Backend()
        delivery = delivery_to(backend, journal)
        journal.write([probe(step)])
        delivery.notify()
        assert delivery.close(10)
        assert backend.steps == [step]


@pytest.mark.parametrize(
    "cursor",
    [b"", b"\xff\xfe\x00", b"[]", b'{"offset": -5}', b'{"offset": "1"}', b'{"offset": 1e300}', b"[" * 99999],
)
def test_a_damaged_cursor_starts_from_the_beginning(journal, cursor):
    journal.path.with_name(".journal.jsonl.backend.cursor").write_bytes(cursor)
    backend = Backend()
    delivery = delivery_to(backend, journal)
    journal.write([probe(0)])
    delivery.notify()
    assert delivery.close(10)
    assert backend.steps == [0]


def test_a_damaged_record_is_skipped_and_named(journal, caplog):
    backend = Backend()
    delivery = delivery_to(backend, journal)
    journal.write([probe(0), probe(1) | {"phi": "high"}, probe(2)])
    delivery.notify()
    assert delivery.flush(10)
    assert backend.steps == [0, 2]
    assert "'phi' is 'high'" in caplog.text
    delivery.close(10)


def test_a_journal_that_cannot_be_read_is_a_failure_that_passes(journal, monkeypatch):
    real, calls = Tail.parts, []

    def broken_once(tail):
        calls.append(tail)
        if len(calls) == 1:
            raise OSError("stale file handle")
        return real(tail)

    monkeypatch.setattr(Tail, "parts", broken_once)
    backend = Backend()
    delivery = delivery_to(backend, journal)
    journal.write([probe(0)])
    delivery.notify()
    assert delivery.flush(10)
    assert backend.steps == [0]
    delivery.close(10)


def test_two_exporters_of_one_name_have_a_cursor_each(journal):
    for first_fails in (10**6, 0):
        backends = [Backend(first_fails), Backend()]
        output = Output(journal, backends, no_report)
        output.write(probe(len(backends[1].steps)))
        output.close(10)
    assert backends[0].steps == [0, 0]
    assert backends[1].steps == [0]


def test_the_name_of_an_exporter_cannot_climb_out_of_the_folder(journal, tmp_path):
    backend = Backend()
    backend.name = "../../up/\x00"
    delivery = delivery_to(backend, journal)
    journal.write([probe(0)])
    delivery.notify()
    assert delivery.close(10)
    assert {path.parent for path in tmp_path.rglob("*cursor")} == {tmp_path}
    assert not list(tmp_path.parent.glob("up*"))


def test_many_backends_that_hang_are_closed_together(tmp_path):
    release = threading.Event()

    class Hanging(Backend):
        def write(self, records) -> None:
            release.wait(60)

    output = Output(JSONLExporter(tmp_path / "journal.jsonl"), [Hanging() for _ in range(50)], no_report)
    output.write(probe(0))
    began = time.monotonic()
    output.close(0.5)
    assert time.monotonic() - began < 20, "half a second in all, not for each of 50"
    release.set()


def test_an_unwritable_place_moves_the_journal_and_says_where(tmp_path, caplog):
    (tmp_path / "file").touch()
    backend = Backend()
    output = Output(JSONLExporter(tmp_path / "file" / "journal.jsonl"), [backend], no_report)
    output.write(probe(0))
    assert output.flush(10)
    assert backend.steps == [0]
    assert str(output.journal.path) in caplog.text
    output.close(10)


def test_a_journal_that_a_shorter_one_replaced_is_delivered_from_its_beginning(journal):
    backend = Backend()
    delivery = delivery_to(backend, journal)
    journal.write([probe(step) for step in range(5)])
    delivery.notify()
    assert delivery.flush(10)
    journal.path.write_bytes(b"")
    journal.write([probe(7)])
    delivery.notify()
    assert delivery.flush(10)
    assert backend.steps == [*range(5), 7]
    assert delivery.close(10)


def test_what_an_earlier_process_delivered_is_recalled_before_the_first_write(journal, monkeypatch):
    monkeypatch.setattr("foldmon.journal.following._CHUNK", 100)

    class Recaller(Backend):
        def recall(self, earlier) -> None:
            self.earlier = [record["step"] for record in earlier]
            assert not self.steps

    first, second = Recaller(), Recaller()
    for backend, steps in ((first, (0, 1, 2)), (second, (3, 4))):
        delivery = delivery_to(backend, journal)
        journal.write([probe(step) for step in steps])
        delivery.notify()
        assert delivery.close(10)
    assert not hasattr(first, "earlier"), "there is nothing yet"
    assert second.earlier == [0, 1, 2]
    assert second.steps == [3, 4]


def test_an_exporter_that_finishes_gets_the_journal_and_what_draws(journal):
    class Finisher(Backend):
        def finish(self, journal, write_report) -> None:
            assert not self.closed
            write_report(journal, journal.with_suffix(".html"))

    drawn = []
    delivery = delivery_to(Finisher(), journal, lambda *paths: drawn.append(paths))
    journal.write([probe(0)])
    delivery.notify()
    assert delivery.close(10)
    assert drawn == [(journal.path, journal.path.with_suffix(".html"))]


def test_an_error_while_finishing_is_said_and_the_exporter_closed(journal, caplog):
    class Finisher(Backend):
        def finish(self, journal, write_report) -> None:
            raise KeyError("page")

    backend = Finisher()
    delivery = delivery_to(backend, journal)
    journal.write([probe(0)])
    delivery.notify()
    assert delivery.close(10)
    assert "finishing the backend exporter failed: 'page'" in caplog.text
    assert backend.closed == 1


def test_nothing_is_finished_that_was_not_delivered(journal):
    class Finisher(Backend):
        finished = 0

        def finish(self, journal, write_report) -> None:
            self.finished += 1

    backend = Finisher(failures=10**6)
    delivery = delivery_to(backend, journal)
    journal.write([probe(0)])
    delivery.notify()
    assert not delivery.close(10)
    assert (backend.finished, backend.closed) == (0, 1)


def test_an_exporter_that_was_never_given_anything_is_closed(journal):
    backend = Backend()
    assert delivery_to(backend, journal).close(10)
    assert backend.closed == 1


class Unhurried(Backend):
    """Takes a write in ten minutes, and counts them."""

    apart = 600.0


def test_an_unhurried_exporter_gets_what_came_meanwhile_in_one_write(journal):
    backend = Unhurried()
    delivery = delivery_to(backend, journal)
    journal.write([probe(0)])
    delivery.notify()
    wait_until(lambda: backend.steps == [0])
    for step in (1, 2, 3):
        journal.write([probe(step)])
        delivery.notify()
    time.sleep(0.1)
    assert backend.calls == 1
    assert delivery.flush(10), "who waits need not wait for the time between two writes"
    assert (backend.calls, backend.steps) == (2, [0, 1, 2, 3])
    journal.write([probe(4)])
    delivery.notify()
    assert delivery.close(10)
    assert (backend.calls, backend.steps) == (3, [0, 1, 2, 3, 4])


def test_an_unhurried_exporter_that_fails_is_tried_again_after_the_pause_not_after_that_time(journal):
    backend = Unhurried(failures=2)
    delivery = delivery_to(backend, journal)
    journal.write([probe(0)])
    delivery.notify()
    wait_until(lambda: backend.steps == [0])
    delivery.close(10)
