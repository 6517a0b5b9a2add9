"""The pace of probes, with a clock of hours so that nothing happens by chance."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from foldmon.folding.model.giving_up import go_on
from foldmon.sampling.contract import Contract
from foldmon.sampling.guard import Guard
from foldmon.sampling.pace import Alone, Together
from foldmon.sampling.sampler import Sampler
from foldmon.sampling.team import TeamError
from foldmon.sampling.timetable import Share, Timetable


def every(steps: int) -> Timetable:
    return Timetable(steps, Contract(0.01, 1.0, 0.0), rows={33: range(1, 9)})


class Copied:
    """A subject that counts its snapshots."""

    capturing = False

    def __init__(self, background: bool) -> None:
        self.background, self.snapshots = background, 0

    def snapshot(self) -> None:
        self.snapshots += 1


class Ranks:
    """A team of this process."""

    def __init__(self) -> None:
        self.lost, self.met = False, True

    def whole(self, pairs: int) -> int:
        return pairs

    def from_first(self, make: Any) -> Any:
        if self.lost:
            raise TeamError("gone")
        return make()


def test_alone_in_the_training_thread():
    subject: Any = Copied(background=False)
    probed: list[int] = []
    pace = Alone(
        subject,
        every(5),
        Sampler(),
        Guard(TeamError),
        lambda step, stall, share: probed.append(step),
    )
    assert not any(pace.advance(step) for step in range(12))
    assert probed == [0, 5, 10]
    assert subject.snapshots == 3


def test_alone_beside_training_a_busy_sampler_leaves_probes_out():
    subject: Any = Copied(background=True)
    begun, go_on, sampler = threading.Event(), threading.Event(), Sampler()

    def probe(step: int, stall: float, share: Share) -> None:
        begun.set()
        assert go_on.wait(10)

    pace = Alone(subject, every(1), sampler, Guard(TeamError), probe)
    assert not pace.advance(0)
    assert begun.wait(10)
    assert [pace.advance(1), pace.advance(2)] == [True, True]
    go_on.set()
    assert sampler.wait(10)
    assert not pace.advance(3)
    assert subject.snapshots == 2  # none for those that were left out
    assert sampler.finish(10)
    assert sampler.close()


def test_a_probe_that_waits_for_another_one_at_no_fixed_interval_is_not_left_out():
    """It comes a little later."""
    subject: Any = Copied(background=True)
    go_on, sampler, probed = threading.Event(), Sampler(), list[int]()

    def probe(step: int, stall: float, share: Share) -> None:
        probed.append(step)
        assert go_on.wait(10)

    timetable = Timetable(None, Contract(1.0, 100.0, 0.0), rows={33: range(1, 9)})
    pace = Alone(subject, timetable, sampler, Guard(TeamError), probe)
    assert [pace.advance(step) for step in range(1, 4)] == [False] * 3
    go_on.set()
    assert sampler.finish(10)
    assert not pace.advance(4)
    assert sampler.finish(10)
    assert sampler.close()
    assert probed == [1, 4]


def test_the_first_probe_ends_before_training_begins_and_no_other_is_waited_for():
    subject: Any = Copied(background=True)
    go_on, ended, sampler = threading.Event(), list[int](), Sampler()

    def probe(step: int, stall: float, share: Share) -> None:
        assert step == 0 or go_on.wait(10)
        ended.append(step)

    pace = Alone(subject, every(1), sampler, Guard(TeamError), probe)
    pace.advance(0)
    assert ended == [0]
    pace.advance(1)
    assert ended == [0]
    go_on.set()
    assert sampler.finish(10)
    assert sampler.close()
    assert ended == [0, 1]


def test_a_failing_probe_pauses_and_a_good_one_ends_the_row():
    subject: Any = Copied(background=False)
    guard, fail = Guard(TeamError), True

    def probe(step: int, stall: float, share: Share) -> None:
        if fail:
            raise ValueError("not now")

    pace = Alone(subject, every(1), Sampler(), guard, probe)
    pace.advance(1)
    assert not pace.advance(2), "a pause is no probe that was left out because another one runs"
    assert guard.failures == 1
    guard.resume_at, fail = 0.0, False
    pace.advance(3)
    assert guard.failures == 0


def test_pauses_grow_to_ten_minutes_and_no_further_however_often_it_fails():
    guard = Guard(TeamError)
    for failure in range(1, 2001):
        before = time.perf_counter()
        guard.run(lambda: [].pop())
        pause = 2.0**failure if failure < 10 else 600.0
        assert before + pause <= guard.resume_at <= time.perf_counter() + pause
    assert guard.failures == 2000


def test_together_at_every_multiple_and_no_more_once_the_team_is_gone():
    team: Any = Ranks()
    probed: list[int] = []
    guard = Guard(TeamError)
    pace = Together(team, every(5), guard, lambda step, stall, share: probed.append(step))
    for step in range(3, 12):
        assert not pace.advance(step)
    assert probed == [3, 5, 10]
    team.lost = True
    with pytest.raises(TeamError):
        pace.advance(15)
    pace.advance(20)
    assert probed == [3, 5, 10, 15]


def test_together_failing_probes_get_rare():
    team: Any = Ranks()
    guard = Guard(TeamError)
    tried: list[int] = []

    def probe(step: int, stall: float, share: Share) -> None:
        tried.append(step)
        raise ValueError("not now")

    pace = Together(team, every(1), guard, probe)
    for step in range(20):
        pace.advance(step)
    assert tried == [0, 2, 6, 14]


def test_a_probe_is_told_how_many_pairs_it_measures():
    subject: Any = Copied(background=False)
    timetable = Timetable(None, Contract(1.0, 0.4, a_row=0.01), rows={33: range(1, 9)})
    counts: list[int] = []

    def probe(step: int, stall: float, share: Share) -> None:
        counts.append(share.pairs)
        timetable.probed(step, share, 0.01 * share.pairs, 0.0)

    pace = Alone(subject, timetable, Sampler(), Guard(TeamError), probe)
    for step in range(30):
        pace.advance(step)
    assert len(counts) > 2
    assert all(1 <= count <= 8 for count in counts)
    assert sum(counts) <= 40


def test_a_job_that_was_given_up_does_not_take_the_next_one_with_it():
    sampler, begun, ended = Sampler(), threading.Event(), threading.Event()

    def endless() -> None:
        while True:
            begun.set()
            go_on()  # as every pass does

    def short() -> None:
        go_on()
        ended.set()

    assert sampler.offer(endless)
    assert begun.wait(10)
    assert not sampler.finish(0.0)
    assert sampler.offer(short)
    assert sampler.finish(10)
    assert ended.is_set()
    assert sampler.close()
