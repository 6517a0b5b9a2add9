from __future__ import annotations

import pytest

from foldmon.sampling.contract import Contract


def test_only_the_first_start_counts():
    contract = Contract(0.01, 1.0, 0.0)
    assert contract.overhead(5.0) == 0
    contract.start(10.0)
    contract.start(15.0)
    contract.book(4, 1.0)
    assert contract.overhead(20.0) == pytest.approx(0.1)
    assert contract.overhead(10.0) == 0


def test_the_fixed_part_and_the_pairs_are_told_apart():
    contract = Contract(0.01, 1.0, 0.0)
    for pairs in (1, 4, 16, 2, 64):
        contract.book(pairs, 0.003 + 0.0005 * pairs)
    assert contract.price(32) == pytest.approx(0.019)
    assert contract.affordable(0.019) == pytest.approx(32)
    assert contract.affordable(0.0034) == pytest.approx(0.8)
    assert contract.affordable(0.002) == 0


def test_one_slow_probe_does_not_change_the_price():
    contract = Contract(0.01, 1.0, 0.0)
    for pairs in (1, 8, 2, 4):
        contract.book(pairs, 0.003 + 0.001 * pairs)
    contract.book(3, 5.0)
    assert contract.price(8) == pytest.approx(0.011, rel=0.3)


def test_before_any_probe_the_price_is_what_was_foretold():
    assert Contract(0.01, 1.0, a_row=0.02).price(10) == pytest.approx(0.2)


def test_of_one_size_the_parts_are_those_foretold_scaled_to_what_it_cost():
    contract = Contract(0.01, 1.0, a_row=0.001, fixed=0.005)
    contract.book(15, 0.04)  # twice as dear
    assert contract.price(15) == pytest.approx(0.04)
    assert contract.price(1) == pytest.approx(0.012)


def test_fewer_pairs_than_are_worth_the_fixed_part_are_not_worth_a_probe():
    assert Contract(0.01, 1.0, a_row=0.001, fixed=0.005).worthwhile == pytest.approx(10)
    assert Contract(0.01, 1.0, a_row=0.02, fixed=0.005).worthwhile == pytest.approx(0.5)
