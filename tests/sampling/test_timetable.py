from __future__ import annotations

import random

import pytest

from foldmon.sampling.timetable import Timetable


def simulate(
    timetable: Timetable, step: float, probe: float, until: float, seed: int = 0, spread: float = 0.0
) -> list[float]:
    """Train and probe one after the other on a clock of our own; the times at which probes began."""
    draw = random.Random(seed)
    timetable.start(0.0)
    now, count, began = 0.0, 0, []
    while now < until:
        if timetable.due(count, now):
            began.append(now)
            cost = probe * draw.uniform(1 - spread, 1 + spread)
            now += cost
            timetable.book(cost, now)
        now += step
        count += 1
    return began


def test_the_first_probe_is_due_at_once():
    assert Timetable(every=None, budget=0.01).due(0, 0.0)
    assert Timetable(every=10, budget=0.01).due(0, 0.0)


def test_a_fixed_interval_is_due_at_its_multiples_whatever_probes_cost():
    timetable = Timetable(every=3, budget=0.01)
    timetable.start(0.0)
    timetable.book(1000.0, now=1000.0)
    assert [step for step in range(10) if timetable.due(step, 1000.0)] == [0, 3, 6, 9]
    assert timetable.interval() == 0


@pytest.mark.parametrize("step", [0.001, 0.03, 1.0])
@pytest.mark.parametrize("probe", [0.002, 0.1, 3.0])
@pytest.mark.parametrize("budget", [0.01, 0.2])
def test_the_share_stays_within_the_budget_and_uses_it(step, probe, budget):
    timetable = Timetable(every=None, budget=budget)
    until = 20 * (probe + step) / budget
    began = simulate(timetable, step, probe, until)
    share = timetable.overhead(until)
    assert share <= budget * 1.001
    assert share >= 0.6 * min(budget, probe / (probe + step)), "at most one probe a step"
    assert len(began) >= 10


def test_costs_that_vary_stay_near_the_budget():
    timetable = Timetable(every=None, budget=0.05)
    simulate(timetable, 0.01, 0.1, until=200, spread=0.9)
    assert 0.04 < timetable.overhead(200) < 0.055


def test_probes_that_become_slower_are_spaced_out():
    timetable = Timetable(every=None, budget=0.01)
    timetable.start(0.0)
    for end in (10.0, 20.0, 30.0):
        timetable.book(0.1, end)
    assert timetable.interval() == pytest.approx(10)
    for end in (40.0, 140.0, 240.0):
        timetable.book(1.0, end)
    assert timetable.interval() == pytest.approx(100)


def test_one_slow_probe_does_not_change_the_interval():
    timetable = Timetable(every=None, budget=0.01)
    for seconds in (0.1, 0.1, 5.0, 0.1):
        timetable.book(seconds, 0.0)
    assert timetable.interval() == pytest.approx(10)


def test_a_long_pause_gives_no_right_to_a_burst():
    timetable = Timetable(every=None, budget=0.01)
    timetable.start(0.0)
    timetable.book(0.1, 0.1)
    hour = 3600.0
    assert timetable.due(1, hour)
    timetable.book(0.1, hour + 0.1)
    assert not timetable.due(2, hour + 0.2)
    assert not timetable.due(3, hour + 4.9)
    assert timetable.due(4, hour + 5.2)


def test_a_busy_sampler_is_asked_again_later():
    timetable = Timetable(every=None, budget=0.01)
    timetable.postpone(now=1.0)
    assert not timetable.due(1, 1.005)
    assert timetable.due(2, 1.011)


def test_only_the_first_start_counts():
    timetable = Timetable(every=None, budget=0.01)
    assert timetable.overhead(5.0) == 0
    timetable.start(10.0)
    timetable.start(15.0)
    timetable.book(1.0, 15.0)
    assert timetable.overhead(20.0) == pytest.approx(0.1)
    assert timetable.overhead(10.0) == 0
