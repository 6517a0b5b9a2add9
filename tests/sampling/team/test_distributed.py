"""Several processes that train one model, started by torchrun."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch.distributed as dist

WORKER = Path(__file__).with_name("worker.py")

pytestmark = pytest.mark.skipif(not dist.is_available(), reason="this torch has no distributed package")


def torchrun(processes: int, *scenarios: str) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}",
        str(WORKER), *scenarios,
    ]  # fmt: skip
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, timeout=150, env=environment)


def assert_done(run: subprocess.CompletedProcess[str], processes: int, *scenarios: str) -> None:
    assert run.returncode == 0, run.stderr[-4000:]
    for scenario in scenarios:
        assert run.stdout.count(f"{scenario} done on rank") == processes


def test_two_processes_measure_what_one_does_and_training_is_the_same():
    scenarios = ("same", "adaptive", "refused", "one_rank_fails")
    run = torchrun(2, *scenarios)
    assert_done(run, 2, *scenarios)
    assert "measuring failed on rank 1" in run.stderr
    assert "ValueError: not in the mood" in run.stderr


def test_four_processes_measure_what_one_does():
    assert_done(torchrun(4, "same"), 4, "same")


def test_a_rank_that_dies_is_a_clear_error_in_bounded_time():
    run = torchrun(2, "dies")
    assert "TEAM ERROR the ranks [0, 1] do not all answer" in run.stdout
    assert run.returncode != 0, "training itself ends with the error of its own collective"


def test_watching_on_one_rank_only_is_a_clear_error():
    run = torchrun(2, "not_everywhere")
    assert "foldmon.watch must be called on every rank" in run.stdout
    assert_done(run, 2, "not_everywhere")
