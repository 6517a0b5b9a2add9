"""Several processes that train one model, started by torchrun."""

from __future__ import annotations

import pytest
import torch.distributed as dist

from tests.fixtures.processes import assert_done, torchrun

WORKER = "tests.sampling.team.worker"

pytestmark = [
    pytest.mark.skipif(not dist.is_available(), reason="this torch has no distributed package"),
    pytest.mark.timeout(600),  # processes share a machine with whatever else runs on it
]


def test_two_processes_measure_what_one_does_and_training_is_the_same():
    scenarios = ("same", "wrapped", "by_units", "ends", "adaptive")
    assert_done(torchrun(WORKER, 2, *scenarios), 2, *scenarios)


@pytest.mark.slow
def test_what_cannot_be_measured_is_told_on_every_rank_and_ranks_that_are_missed_cost_a_probe():
    scenarios = ("refused", "stage", "parallel_and_replicated", "one_rank_fails", "is_slow", "leaves")
    run = torchrun(WORKER, 2, *scenarios)
    assert_done(run, 2, *scenarios)
    assert "measuring failed on rank 1" in run.stderr
    assert "ValueError: not in the mood" in run.stderr
    assert "the ranks [1] were not there in time" in run.stderr
    assert "[1] have left" in run.stderr


@pytest.mark.slow
def test_four_processes_measure_what_one_does():
    scenarios = ("same", "in_two_dimensions")
    assert_done(torchrun(WORKER, 4, *scenarios), 4, *scenarios)


@pytest.mark.slow
def test_a_rank_that_dies_costs_the_probe_and_not_the_training():
    run = torchrun(WORKER, 2, "dies")
    assert run.returncode == 0, run.stderr[-4000:]
    assert "no more probes: the ranks [0, 1] do not all answer" in run.stderr


@pytest.mark.slow
def test_watching_on_one_rank_only_is_a_clear_error():
    run = torchrun(WORKER, 2, "not_everywhere")
    assert_done(run, 2, "not_everywhere")
    told = "foldmon: waiting, for 3 s at most, for the ranks [1]: foldmon.watch must be called on every rank"
    assert run.stderr.count(told) == 1
