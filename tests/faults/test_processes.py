"""Signals, forks, sudden ends and restarts, each in a real process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import foldmon
from foldmon.exporters.replay import replay
from foldmon.journal.following import read_journal

ROOT = Path(__file__).parents[2]
JOURNAL = Path("run/foldmon/journal.jsonl")


def start(*arguments: str, how: Sequence[str] = ("-m",)) -> subprocess.Popen[str]:
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": path}
    return subprocess.Popen(
        [sys.executable, *how, "tests.faults.program", *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip


def run(*arguments: str) -> str:
    process = start(*arguments)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    return output + errors


def probed() -> list[int]:
    return [record["step"] for record in read_journal(JOURNAL) if record["kind"] == "probe"]


def shown(folder: str = "run/foldmon") -> list[int]:
    events = EventAccumulator(folder, {"scalars": 0}).Reload()
    return [event.step for event in events.Scalars("folding/network")]


def wait_for_a_probe(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    # The first passes come from attaching.
    for line in process.stdout:
        if line.strip() == "probing" and JOURNAL.exists() and probed():
            return
    raise AssertionError(process.communicate()[1])


@pytest.mark.parametrize("background", ["True", "False"])
def test_sigint_in_a_probe_reaches_the_user_and_measuring_goes_on(background):
    process = start("interrupted", background)
    wait_for_a_probe(process)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert "ended in order" in output
    assert read_journal(JOURNAL)[-1]["kind"] == "end"
    assert shown() == sorted(set(probed()))


def test_sigterm_in_a_probe_loses_no_finished_probe():
    process = start("killed")
    wait_for_a_probe(process)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == -signal.SIGTERM, errors
    steps = probed()
    assert steps
    assert replay(JOURNAL, foldmon.TensorBoardExporter("run")) == len(steps)
    assert shown() == steps


PROGRAM = "from tests.faults import program; program.interrupts_itself()"


@pytest.mark.parametrize("how", [["-c", PROGRAM], ["-m"]])
def test_a_program_that_is_interrupted_ends_as_it_would(how):
    """What closes it may import and compile, after which Python no longer knows why it ends."""
    process = start("interrupts_itself", how=how)
    _, errors = process.communicate(timeout=120)
    assert "\nKeyboardInterrupt\n" in errors
    assert process.returncode == -signal.SIGINT
    assert read_journal(JOURNAL)[-1]["kind"] == "end"


def test_a_program_that_ends_without_closing_delivers_everything():
    run("unclosed")
    assert read_journal(JOURNAL)[-1]["kind"] == "end"
    assert probed()[0] == 0
    assert shown() == probed()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_forks_while_the_sampler_runs():
    assert "ended in order" in run("forks")
    kinds = [record["kind"] for record in read_journal(JOURNAL)]
    assert kinds.count("end") == 1, "no child wrote"


@pytest.mark.slow
def test_a_resumed_run_continues_its_steps():
    run("first_half")
    # The end (32) is measured where the model is still there when the process ends.
    first = probed()
    assert first in ([0, 5, 10, 15, 20, 25, 30], [0, 5, 10, 15, 20, 25, 30, 32])
    run("second_half")
    assert probed() == [*first, 25, 30, 35, 40, 42]
    assert shown() == [0, 5, 10, 15, 20, 25, 30, 35, 40, 42], "repeated steps replace the lost ones"
    seqs = [record["seq"] for record in read_journal(JOURNAL)]
    assert seqs == list(range(len(seqs)))
    replay(JOURNAL, foldmon.TensorBoardExporter("again"))
    assert shown("again/foldmon") == shown()
