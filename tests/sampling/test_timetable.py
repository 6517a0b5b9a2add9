"""When a probe is due and of how many pairs, on a clock of our own."""

from __future__ import annotations

import random
from dataclasses import dataclass

import pytest

from foldmon.sampling.contract import Contract
from foldmon.sampling.timetable import Timetable


@dataclass
class Run:
    """A simulated training: steps and sizes of its probes, and the largest excess over the contract."""

    steps: list[int]
    pairs: list[int]
    worst: float
    cost: float
    seconds: float


def simulate(
    steps: int,
    step: float,
    fixed: float,
    a_pair: float,
    *,
    budget: float = 0.01,
    allowance: float = 1.0,
    foretold: float | None = None,
    spread: float = 0.0,
) -> Run:
    """Train and probe one after the other; a probe costs ``fixed + pairs * a_pair``, give or take."""
    contract = Contract(budget, allowance, a_pair if foretold is None else foretold)
    timetable = Timetable(None, contract, pairs=64)
    draw, now, run = random.Random(0), 0.0, Run([], [], 0.0, 0.0, 0.0)
    for count in range(steps + 1):
        if count:
            now += step
            contract.start(now)
        if pairs := timetable.share(count, now):
            cost = (fixed + pairs * a_pair) * draw.uniform(1 - spread, 1 + spread)
            now += cost
            timetable.probed(count, pairs, cost, now)
            run.steps.append(count)
            run.pairs.append(pairs)
            run.worst = max(run.worst, contract.cost / (allowance + budget * contract.elapsed(now)))
    run.cost, run.seconds = contract.cost, now
    return run


@pytest.mark.parametrize("step", [0.001, 0.03, 1.0])
@pytest.mark.parametrize("fixed", [0.0, 0.003, 0.03])
@pytest.mark.parametrize("a_pair", [0.0002, 0.01, 0.1])
def test_the_contract_holds_at_every_moment(step, fixed, a_pair):
    run = simulate(2000, step, fixed, a_pair)
    assert run.steps
    assert run.worst <= 1.001


def test_it_holds_within_a_tenth_where_costs_vary_and_were_foretold_wrongly():
    assert simulate(2000, 0.01, 0.003, 0.002, foretold=0.0002, spread=0.5).worst <= 1.1
    assert simulate(2000, 0.01, 0.003, 0.002, foretold=0.02, spread=0.5).worst <= 1.1


@pytest.mark.parametrize(("steps", "wanted"), [(300, 20), (1000, 40), (10_000, 60)])
def test_a_run_of_any_length_shows_its_course(steps, wanted):
    for step, fixed, a_pair in ((0.001, 0.003, 0.0002), (0.03, 0.003, 0.02), (0.3, 0.01, 0.03)):
        run = simulate(steps, step, fixed, a_pair)
        assert len(run.steps) >= wanted
        # Not all at the beginning: each third of the steps on a logarithmic scale has its share.
        assert sum(count > steps**0.67 for count in run.steps) >= wanted / 4


def test_where_all_pairs_are_affordable_all_are_measured():
    run = simulate(20_000, 0.05, 0.003, 0.0002)
    assert run.pairs[-20:] == [64] * 20


def test_a_pair_that_costs_more_than_the_allowance_waits_for_the_budget():
    run = simulate(2000, 1.0, 0.0, 4.0)
    assert run.steps[0] > 200  # three seconds more than the allowance are three hundred of training
    assert run.worst <= 1.001
    assert len(run.steps) >= 4


def test_without_an_allowance_the_share_alone_counts():
    run = simulate(20_000, 0.01, 0.003, 0.002, allowance=1e-9)
    assert 0.8 * 0.01 * run.seconds <= run.cost <= 0.01 * run.seconds


def test_a_long_pause_gives_no_right_to_a_burst():
    contract = Contract(0.01, 1.0, 0.01)
    timetable = Timetable(None, contract, pairs=64)
    contract.start(0.0)
    assert timetable.share(100, 1.0)
    timetable.probed(100, 10, 0.1, 1.1)
    hour = 3600.0
    assert timetable.share(101, hour) == 64
    timetable.probed(101, 64, 0.64, hour + 0.64)
    assert [timetable.share(step, hour + step / 100) for step in (101, 102)] == [0, 64]
    timetable.probed(102, 64, 0.64, hour + 2)
    assert timetable.share(102, hour + 3) == 0


def test_a_fixed_interval_is_due_once_a_multiple_was_passed_whatever_probes_cost():
    timetable = Timetable(3, Contract(0.01, 1.0, 0.0), pairs=64)
    assert [step for step in range(10) if timetable.share(step, 0.0)] == [0, 3, 6, 9]
    timetable.probed(9, 64, 1000.0, 1000.0)
    assert [step for step in (11, 13, 14, 20, 21, 22) if timetable.share(step, 1000.0)] == [13, 20, 21]
    assert timetable.interval(22, 1000.0) == 0


def test_a_run_that_is_resumed_waits_for_the_next_multiple():
    timetable = Timetable(5, Contract(0.01, 1.0, 0.0), pairs=64)
    assert [step for step in range(7, 16) if timetable.share(step, 0.0)] == [10, 15]


def test_ranks_learn_beforehand_when_the_next_probe_is_and_that_it_is_affordable():
    contract = Contract(0.01, 1.0, 0.5)
    timetable = Timetable(None, contract, pairs=64)
    contract.start(0.0)
    timetable.share(0, 0.0)
    timetable.probed(0, 2, 0.9, 0.9)
    steps, pairs = timetable.ahead(10, now=10.0)
    assert pairs >= 1
    assert contract.credit(10.0 + steps) >= contract.price(pairs)


def test_ranks_whose_pace_is_not_known_yet_meet_again_after_a_few_steps():
    contract = Contract(0.01, 1.0, 0.5)
    timetable = Timetable(None, contract, pairs=64)
    contract.start(0.0)
    timetable.share(0, 0.0)
    timetable.probed(0, 4, 2.0, 2.0)
    steps, pairs = timetable.ahead(0, now=2.0)
    assert 1 <= steps <= 100
    assert 1 <= pairs <= 64
