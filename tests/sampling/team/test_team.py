"""What one rank does with what the others say: without processes, from answers that are given."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist

from foldmon.sampling.guard import Guard
from foldmon.sampling.layout import Layout
from foldmon.sampling.pace import Together
from foldmon.sampling.sharing import _first_to_hold, _SharedWork
from foldmon.sampling.team import LateError, Team, TeamError
from foldmon.sampling.timetable import Share


class Place:
    """A meeting place whose meetings go as they are told."""

    def __init__(self, *went: bool) -> None:
        self.went, self.waited = list(went), list[float]()
        self.left, self.absent, self.gone = list[int](), [1], False

    def meet(self, patience: float) -> bool:
        self.waited.append(patience)
        return self.went.pop(0)

    def leave(self) -> None:
        self.gone = True


def team(*went: bool, rank: int = 0, ranks: int = 4, units: int = 1, lockstep: bool = False) -> Team:
    made = Team.__new__(Team)
    own = tuple(range(rank - rank % units, rank - rank % units + units))
    made.layout = Layout(tuple(range(ranks)), own, lockstep)
    made.ranks, made.rank, made.is_first = list(range(ranks)), rank, rank == 0
    made.met, made._group, made._lost, made._missed = True, None, None, 0
    made._place = Place(*went)
    return made


def test_a_rank_is_given_up_after_three_meetings_in_a_row_without_it():
    patient = team(False, False, True, False, False, False)
    for went in (False, False, True, False, False):
        if went:
            patient.meet()
        else:
            with pytest.raises(LateError, match=r"ranks \[1\] were not there in time"):
                patient.meet()
        assert patient.met == went
    with pytest.raises(TeamError, match="have left, or are at other steps"):
        patient.meet()
    with pytest.raises(TeamError):
        patient.meet()
    assert len(patient._place.waited) == 6, "who is given up is not waited for again"


def test_a_rank_that_has_left_is_given_up_at_once():
    one = team(False)
    one._place.left = [2]
    with pytest.raises(TeamError, match=r"\[2\] have left"):
        one.meet()


def test_who_worked_for_long_is_given_as_long_three_times_over():
    one = team(True, True)
    one.meet()
    one.meet(seconds=10.0)
    assert one._place.waited == [5.0, 30.0]


@pytest.mark.parametrize(("lockstep", "count"), [(True, 6), (False, 5)])
def test_pairs_are_as_many_as_ranks_in_lockstep_can_share_evenly(lockstep, count):
    assert team(units=2, lockstep=lockstep).whole(5) == count
    assert team(units=2, lockstep=lockstep).whole(6) == 6


def test_what_the_first_rank_cannot_make_is_told_to_all(monkeypatch):
    sent: list[list[Any]] = []
    monkeypatch.setattr(dist, "broadcast_object_list", lambda box, **_: sent.append(list(box)))

    def fail() -> None:
        raise KeyError("no such layer")

    with pytest.raises(KeyError):
        team().from_first(fail)
    [told] = sent
    monkeypatch.setattr(dist, "broadcast_object_list", lambda box, **_: box.__setitem__(slice(None), told))
    with pytest.raises(ValueError, match="on rank 0: KeyError: 'no such layer'"):
        team(rank=2).from_first(lambda: pytest.fail("the first one makes it"))


def test_running_statistics_are_those_of_the_first_rank_that_has_the_same_units(monkeypatch):
    values = {rank: [torch.full((2,), float(rank))] for rank in range(4)}
    sent: dict[int, Any] = {}
    for rank in range(4):
        one = team(rank=rank, units=2)

        def gather(part: Any, rank: int = rank) -> Any:
            sent[rank] = part
            raise InterruptedError

        monkeypatch.setattr(one, "gather", gather)
        with pytest.raises(InterruptedError):
            one.buffers(values[rank])
    assert sent[0] is not None
    assert sent[1] is not None
    assert sent[2] is sent[3] is None, "these have no units of their own to send"
    for rank in range(4):
        one = team(rank=rank, units=2)
        monkeypatch.setattr(one, "gather", lambda part: [sent[other] for other in range(4)])
        [found] = one.buffers(values[rank])
        assert found.tolist() == [float(rank % 2)] * 2


def test_a_failure_on_one_rank_is_raised_on_all(monkeypatch):
    def gathered(into: list[Any], own: Any, group: Any) -> None:
        into[:] = [own, (None, "ValueError: odd"), ("c", None), ("d", None)]

    monkeypatch.setattr(dist, "all_gather_object", gathered)
    with pytest.raises(RuntimeError, match="measuring failed on rank 1: ValueError: odd"):
        team().gather("a")


def test_who_fails_meets_the_others_all_the_same_and_tells_them(monkeypatch):
    told = []
    one = team(True)
    monkeypatch.setattr(one, "gather", lambda part, failure: told.append((part, failure)))

    def fail() -> None:
        raise ValueError("odd")

    one.work(fail)
    [(part, failure)] = told
    assert part is None
    assert str(failure) == "odd"
    assert one.met


def test_the_others_are_told_who_leaves(monkeypatch):
    ended = []
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "destroy_process_group", ended.append)
    one = team()
    one.close()
    assert one._place.gone
    assert ended == [None]


def test_an_agreement_takes_all_ranks(monkeypatch):
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "broadcast_object_list", lambda box, **_: None)
    assert team(True).agree(True)
    assert not team(True).agree(False)
    assert not team(False).agree(True)


def test_probes_get_rarer_while_ranks_do_not_come():
    class Timetable:
        whole = Share(8, 33)

        def share(self, step: int, now: float) -> Share:
            return self.whole

        def ahead(self, step: int, now: float) -> tuple[int, Share]:
            return 3, self.whole

    class Ranks:
        met = True

        def whole(self, pairs: int) -> int:
            return pairs

        def from_first(self, make: Any) -> Any:
            return make()

    ranks: Any = Ranks()
    tried: list[int] = []
    pace = Together(ranks, Timetable(), Guard(TeamError), lambda step, *_: tried.append(step))  # type: ignore[arg-type]
    for step in range(40):
        ranks.met = step not in (3, 9)
        pace.advance(step)
    assert tried == [0, 3, 9, 21, 24, 27, 30, 33, 36, 39]


@pytest.mark.parametrize(("lockstep", "rows"), [(True, 4), (False, 10)])
def test_ranks_in_lockstep_run_passes_of_the_size_of_the_smallest(lockstep, rows):
    work: Any = _SharedWork.__new__(_SharedWork)
    work.layout, work._rows = team(lockstep=lockstep).layout, 4
    work.prober = SimpleNamespace(rows_at_once=10)
    work._keep_step()
    assert work.prober.rows_at_once == rows
    work.prober.rows_at_once = 3  # out of memory since
    work._keep_step()
    assert work.prober.rows_at_once == 3


def test_of_values_that_several_ranks_have_the_first_one_holds_them():
    own, shared = np.arange(3, dtype=np.float32), np.ones(3, dtype=np.float32)
    samples = [[own, shared], [own + 1, shared], [own, shared * np.nan], [own + 1, shared * np.nan]]
    assert _first_to_hold(samples).tolist() == [[True, True], [True, False], [False, True], [False, False]]
