"""How long training stands still for a probe that runs beside it, and what a step between probes costs.

    python -m tests.benchmarks.standstill

The standstill is the copy of the weights and the wake-up of the sampler's thread; it is timed around the
monitor's own call in the training loop, while nothing else of foldmon runs. Medians over the probes.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time

import torch

import foldmon
from tests.benchmarks.training_loops import WORKLOADS, Workload, describe, seconds_of


def standstill(workload: Workload, probes: int) -> tuple[float, float, float]:
    """Medians of a step, of the standstill at a probe, and of the call of a step without a probe, in seconds."""
    steps, stalls = [], []
    with tempfile.TemporaryDirectory() as folder:
        monitor = foldmon.watch(workload.model, workload.held_out, every=10**9, exporters=[], log_dir=folder)
        monitor.flush()
        subject, sampler = monitor._subject, monitor._sampler
        for _ in range(probes):
            steps.append(seconds_of(workload.step, 5) / 5)
            began = time.perf_counter()
            subject.snapshot()
            sampler.offer(_nothing)
            stalls.append(time.perf_counter() - began)
            sampler.wait()
        counter = monitor._counter
        assert counter is not None
        between = seconds_of(lambda: counter.stepped(workload.optimizer), 20_000) / 20_000
        between -= seconds_of(_nothing, 20_000) / 20_000
        monitor.close()
    return statistics.median(steps), statistics.median(stalls), between


def _nothing() -> None:
    """A job that only wakes the thread."""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--probes", type=int, default=60)
    options = parser.parse_args()
    print(f"{describe()}; medians over {options.probes} probes\n")
    print("| workload | parameters | step | standstill at a probe | of one step | a step between probes |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for name, make in WORKLOADS.items():
        torch.manual_seed(0)
        workload = make()
        seconds_of(workload.step, 10)
        step, stall, between = standstill(workload, options.probes)
        count = sum(p.numel() for p in workload.model.parameters())
        print(
            f"| {name} | {count:,} | {1e3 * step:.2f} ms | {1e6 * stall:.0f} µs | {stall / step:.1%} "
            f"| {1e6 * between:.2f} µs ({between / step:.3%}) |"
        )


if __name__ == "__main__":
    main()
