"""The end of a run is measured whole, unless it is not wished, too dear, or came by an error."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from torch import nn

import foldmon
from foldmon.journal.following import read_journal

ROOT = Path(__file__).parents[2]


def train(model: nn.Module, steps: int = 20) -> None:
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.randn(16, 8)).square().mean().backward()
        optimizer.step()


def probes(monitor: foldmon.Monitor) -> list[dict]:
    return [record for record in read_journal(monitor.journal_path) if record["kind"] == "probe"]


def test_close_measures_all_pairs_at_the_last_step_and_charges_nothing(mlp, held_out, tmp_path):
    monitor = foldmon.watch(mlp, held_out, exporters=[], log_dir=tmp_path)
    train(mlp)
    monitor.flush()
    seconds = time.perf_counter()
    before = monitor.overhead
    monitor.close()
    last = probes(monitor)[-1]
    assert last["step"] == 20
    assert last["measured"] is None
    assert last["phi"] == foldmon.measure(mlp, foldmon.draw_pairs(held_out, 64)).phi
    assert monitor.overhead <= before * 1.001
    assert time.perf_counter() - seconds < 20


def test_an_end_that_was_measured_is_not_measured_again(mlp, held_out, tmp_path):
    monitor = foldmon.watch(mlp, held_out, exporters=[], log_dir=tmp_path)
    train(mlp)
    monitor.probe()
    assert monitor.flush()
    before = len(monitor.history)
    monitor.close()
    assert len(monitor.history) == before
    last = probes(monitor)[-1]
    assert (last["step"], last["measured"]) == (20, None)


def test_it_can_be_left_out(mlp, held_out, tmp_path):
    monitor = foldmon.watch(mlp, held_out, every=1000, exporters=[], log_dir=tmp_path)
    train(mlp)
    monitor.close(last=0)
    assert [record["step"] for record in probes(monitor)] == [0]


def test_where_an_exception_leaves_the_block_nothing_more_is_measured(mlp, held_out, tmp_path):
    monitor = foldmon.watch(mlp, held_out, every=1000, exporters=[], log_dir=tmp_path)
    train(mlp)
    with pytest.raises(KeyboardInterrupt), monitor:
        raise KeyboardInterrupt
    assert [record["step"] for record in probes(monitor)] == [0]


@pytest.mark.parametrize(("end", "steps"), [("pass", [0, 20]), ("raise ValueError", [0])])
def test_a_script_that_never_closes_knows_its_end_unless_an_error_ends_it(tmp_path, end, steps):
    program = f"""
import torch, foldmon
from tests.monitor.test_end import train
model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 3))
data = torch.randn(60, 8), torch.arange(60) % 3
monitor = foldmon.watch(model, data, every=1000, exporters=[], log_dir={str(tmp_path)!r})
train(model)
{end}
"""
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == (0 if end == "pass" else 1), done.stderr
    found = [r["step"] for r in read_journal(tmp_path / "foldmon" / "journal.jsonl") if r["kind"] == "probe"]
    assert found == steps


class Slow(nn.Module):
    """A model whose pass takes its time."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))

    def forward(self, x):
        time.sleep(0.1)
        return self.layers(x)


def test_a_model_of_which_a_pair_costs_more_than_the_allowance_says_so_once(held_out, tmp_path, caplog):
    model = Slow()
    # 128 points cannot be halved: where they can, a pair is walked at fewer before it is given up.
    with foldmon.watch(model, held_out, points=128, exporters=[], log_dir=tmp_path) as monitor:
        train(model, 3)
        monitor.flush()
        assert not probes(monitor)
        monitor.close(last=0)
    said = [r.message for r in caplog.records if "more than the allowance" in r.message]
    assert len(said) == 1
    assert "allowance=" in said[0]
