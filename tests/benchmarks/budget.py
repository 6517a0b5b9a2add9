"""Whether the budget holds: the achieved share for steps of 1 ms to 1 s, also on a loaded machine.

    python -m tests.benchmarks.budget

A step trains a small network and then computes on until the step's time is over. The share is what the
monitor reports (``monitor.overhead``, exported with each probe): the wall time of all probes and standstills
over the time since the first step. Probes are small, so that many fit into a short run. Load is two processes
a core that compute without pause.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

import foldmon
from foldmon.journal.following import read_journal
from tests.benchmarks.training_loops import Workload, describe


def small() -> Workload:
    model = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    labels = torch.arange(128) % 10
    return Workload(model, torch.randn(16, 32), torch.arange(16) % 10, (torch.randn(128, 32), labels))


def train(step_seconds: float, budget: float, seconds: float) -> tuple[list[float], float]:
    """Shares at each probe, and at the end."""
    torch.manual_seed(0)
    workload = small()
    work = torch.randn(64, 64)
    with tempfile.TemporaryDirectory() as folder:
        monitor = foldmon.watch(
            workload.model,
            workload.held_out,
            budget=budget,
            pairs=16,
            points=17,
            method="sampled",
            exporters=["tensorboard"],
            log_dir=folder,
        )
        until = time.perf_counter() + seconds
        while (began := time.perf_counter()) < until:
            workload.step()
            while time.perf_counter() < began + step_seconds:
                work @ work
        share = monitor.overhead
        monitor.close()
        records = read_journal(monitor.journal_path)
    return [r["monitor"]["overhead"] for r in records if r["kind"] == "probe"], share


def _compute() -> None:
    while True:
        pass


@contextmanager
def load(wanted: bool) -> Iterator[None]:
    context = multiprocessing.get_context("spawn")
    count = 2 * (os.cpu_count() or 1) if wanted else 0
    processes = [context.Process(target=_compute, daemon=True) for _ in range(count)]
    for process in processes:
        process.start()
    try:
        yield
    finally:
        for process in processes:
            process.terminate()
            process.join()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--budget", type=float, default=0.05)
    parser.add_argument("--seconds", type=float, default=20)
    options = parser.parse_args()
    train(0.0, options.budget, seconds=0.5)  # what a process does once (imports, first allocations) is done
    print(f"{describe()}; budget {options.budget:.1%}, {options.seconds:.0f} s a row\n")
    print("| step | machine | probes | share at the end | largest share from the third probe on |")
    print("| ---: | --- | ---: | ---: | ---: |")
    for loaded in (False, True):
        with load(loaded):
            for step_seconds in (0.001, 0.01, 0.1, 1.0):
                shares, share = train(step_seconds, options.budget, options.seconds)
                later = f"{max(shares[2:]):.2%}" if shares[2:] else "-"
                print(
                    f"| {1e3 * step_seconds:.0f} ms | {'loaded' if loaded else 'as it is'} | {len(shares)} "
                    f"| {share:.2%} | {later} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
