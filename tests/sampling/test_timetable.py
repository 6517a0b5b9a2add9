"""When a probe is due and of how many pairs, on a clock of our own."""

from __future__ import annotations

import random
from dataclasses import dataclass

import pytest

from foldmon.sampling.contract import Contract
from foldmon.sampling.timetable import Share, Timetable

# Rows are counted in those of one pair at 33 points.
WHOLE = {33: [float(pairs) for pairs in range(1, 65)]}
FEWER = {points: [pairs * points / 33 for pairs in range(1, 65)] for points in (33, 17, 9)}


@dataclass
class Run:
    """A simulated training: steps and sizes of its probes, and the largest excess over the contract."""

    steps: list[int]
    shares: list[Share]
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
    rows: dict[int, list[float]] = WHOLE,
) -> Run:
    """Train and probe one after the other; a probe costs ``fixed + pairs * a_pair``, give or take."""
    parts = (a_pair, fixed) if foretold is None else (foretold, 0.0)
    contract = Contract(budget, allowance, *parts)
    timetable = Timetable(None, contract, rows=rows)
    draw, now, run = random.Random(0), 0.0, Run([], [], 0.0, 0.0, 0.0)
    for count in range(steps + 1):
        if count:
            now += step
            contract.start(now)
        if share := timetable.share(count, now):
            cost = (fixed + timetable.rows(share) * a_pair) * draw.uniform(1 - spread, 1 + spread)
            now += cost
            timetable.probed(count, share, cost, now)
            run.steps.append(count)
            run.shares.append(share)
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


def test_where_a_pair_is_dear_its_path_is_walked_at_fewer_points():
    dear = simulate(300, 0.06, 0.005, 0.1, rows=FEWER)
    assert len(dear.steps) >= 20
    assert {share.points for share in dear.shares} == {9}
    assert dear.worst <= 1.001
    cheap = simulate(1000, 0.01, 0.003, 0.0005, rows=FEWER)
    assert {share.points for share in cheap.shares} == {33}


def test_a_large_fixed_cost_leaves_a_curve_all_the_same():
    assert len(simulate(1000, 0.02, 0.018, 0.001).steps) >= 40


def test_a_fixed_cost_that_was_foretold_too_high_is_found_out():
    contract = Contract(0.01, 1.0, a_row=0.0001, fixed=0.05)
    timetable, now = Timetable(None, contract, rows=WHOLE), 0.0
    shares = []
    for step in range(200):
        contract.start(now)
        if share := timetable.share(step, now):
            shares.append(share.pairs)
            slow = 0.03 if len(shares) == 2 else 0.002  # the first beside training
            timetable.probed(step, share, slow + 0.0005 * share.pairs, now)
        now += 0.001
    assert shares[0] == 64
    assert min(shares[1:4]) <= 16
    assert contract.price(8) == pytest.approx(0.006, rel=0.1)


def test_a_fixed_cost_that_was_foretold_too_low_is_found_out():
    contract = Contract(0.01, 1.0, a_row=0.02, fixed=0.0)
    timetable, now = Timetable(None, contract, rows=FEWER), 0.0
    for step in range(60):
        contract.start(now)
        if share := timetable.share(step, now):
            cost = 0.015 + 0.001 * timetable.rows(share)
            timetable.probed(step, share, cost, now)
        now += 0.02
    assert contract.price(0) == pytest.approx(0.015, rel=0.05)
    assert contract.price(20) == pytest.approx(0.035, rel=0.05)


def test_as_many_points_are_left_as_a_few_pairs_allow():
    for a_pair, points in ((0.01, 33), (0.02, 17), (0.04, 9), (0.5, 9)):
        timetable = Timetable(None, Contract(0.01, 1.0, a_pair), rows=FEWER)
        share = timetable.share(0, 0.0)  # a tenth of a second
        assert share is not None
        assert share.points == points


def test_where_all_pairs_are_affordable_all_are_measured():
    run = simulate(20_000, 0.05, 0.003, 0.0002)
    assert run.shares[-20:] == [Share(64, 33)] * 20


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
    timetable = Timetable(None, contract, rows=WHOLE)
    contract.start(0.0)
    assert timetable.share(100, 1.0)
    timetable.probed(100, Share(10, 33), 0.1, 1.1)
    hour = 3600.0
    assert timetable.share(101, hour) == Share(64, 33)
    timetable.probed(101, Share(64, 33), 0.64, hour + 0.64)
    assert [timetable.share(step, hour + step / 100) for step in (101, 102)] == [None, Share(64, 33)]
    timetable.probed(102, Share(64, 33), 0.64, hour + 2)
    assert timetable.share(102, hour + 3) is None


def test_a_fixed_interval_is_due_once_a_multiple_was_passed_whatever_probes_cost():
    timetable = Timetable(3, Contract(0.01, 1.0, 0.0), rows=WHOLE)
    assert [step for step in range(10) if timetable.share(step, 0.0)] == [0, 3, 6, 9]
    timetable.probed(9, Share(64, 33), 1000.0, 1000.0)
    assert [step for step in (11, 13, 14, 20, 21, 22) if timetable.share(step, 1000.0)] == [13, 20, 21]
    assert timetable.interval(22, 1000.0) == 0


def test_a_run_that_is_resumed_waits_for_the_next_multiple():
    timetable = Timetable(5, Contract(0.01, 1.0, 0.0), rows=WHOLE)
    assert [step for step in range(7, 16) if timetable.share(step, 0.0)] == [10, 15]
    timetable.resume(4)  # who has seen 15 goes back to a checkpoint
    assert [step for step in range(5, 12) if timetable.share(step, 0.0)] == [5, 10]


def test_ranks_learn_beforehand_when_the_next_probe_is_and_that_it_is_affordable():
    contract = Contract(0.01, 1.0, 0.5)
    timetable = Timetable(None, contract, rows=WHOLE)
    contract.start(0.0)
    timetable.share(0, 0.0)
    timetable.probed(0, Share(2, 33), 0.9, 0.9)
    steps, share = timetable.ahead(10, now=10.0)
    assert share.pairs >= 1
    assert contract.credit(10.0 + steps) >= contract.price(share.pairs)


def test_ranks_whose_pace_is_not_known_yet_meet_again_after_a_few_steps():
    contract = Contract(0.01, 1.0, 0.5)
    timetable = Timetable(None, contract, rows=WHOLE)
    contract.start(0.0)
    timetable.share(0, 0.0)
    timetable.probed(0, Share(4, 33), 2.0, 2.0)
    steps, share = timetable.ahead(0, now=2.0)
    assert 1 <= steps <= 100
    assert 1 <= share.pairs <= 64


def test_a_probe_that_passed_on_more_rows_than_its_share_has_is_not_taken_for_a_dear_one():
    """Held-out inputs come in blocks: none in some probes, many in others."""
    contract = Contract(0.01, 1.0, 0.0)
    timetable = Timetable(None, contract, rows=FEWER)
    for step, blocks in enumerate((0.0, 3.0, 0.0, 0.0, 3.0, 0.0)):
        rows = timetable.rows(Share(1, 9)) + blocks
        timetable.probed(step, Share(1, 9), 0.01 + 0.03 * rows, float(step), rows=rows)
    assert contract.price(0) == pytest.approx(0.01)
    assert contract.price(2) == pytest.approx(0.07)


def test_what_was_done_beside_a_probe_is_charged_too_and_nothing_else():
    contract = Contract(0.01, 1.0, 0.01)
    timetable = Timetable(None, contract, rows=WHOLE)
    timetable.probed(1, Share(10, 33), 0.1, 1.0)
    assert contract.cost == pytest.approx(0.1)
    timetable.probed(2, Share(10, 33), 0.1, 2.0, beside=0.2)
    assert contract.cost == pytest.approx(0.4)
