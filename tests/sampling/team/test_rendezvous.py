"""Ranks that meet through a store: all of them, some of them, or one too late."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch.distributed as dist

from foldmon.sampling import rendezvous
from foldmon.sampling.rendezvous import Rendezvous

pytestmark = pytest.mark.skipif(not dist.is_available(), reason="this torch has no distributed package")


def places(count: int) -> list[Rendezvous]:
    store = dist.HashStore()
    return [Rendezvous(store, rank, range(count)) for rank in range(count)]


def met(present: list[Rendezvous], patience: float, tell=None) -> list[bool]:
    with ThreadPoolExecutor(len(present)) as pool:
        return list(pool.map(lambda place: place.meet(patience, tell), present))


def test_all_meet_as_soon_as_the_last_has_come():
    every = places(3)
    assert met(every, patience=60.0) == [True] * 3
    assert met(every, patience=60.0) == [True] * 3


def test_the_first_of_those_that_wait_says_once_for_whom(monkeypatch):
    monkeypatch.setattr(rendezvous, "_WORTH_A_WORD", 0.05)
    told: list[list[int]] = []
    _, *waiting, _ = places(4)
    assert met(waiting, patience=1.0, tell=told.append) == [False, False]
    assert told == [[0, 3]]
    assert [place.absent for place in waiting] == [[0, 3]] * 2


def test_who_comes_too_late_learns_it_at_once():
    early, late = places(2)
    assert not early.meet(patience=0.01)
    assert not late.meet(patience=60.0)
    assert late.absent == []


def test_one_that_has_left_is_not_waited_for():
    stays, leaves = places(2)
    leaves.leave()
    assert not stays.meet(patience=60.0)
    assert stays.left == [1]
