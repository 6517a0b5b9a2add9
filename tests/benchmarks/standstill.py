"""How long training stands still for a probe that runs beside it, and what a step between probes costs.

    python -m tests.benchmarks.standstill

The standstill is the copy of the weights and the wake-up of the sampler's thread; it is timed around the
monitor's own calls in the training loop, while nothing else of foldmon runs. Medians over the probes, of the
training thread's CPU time and of wall time; on a loaded machine the latter also holds the waits for a core.

"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

import foldmon
from tests.benchmarks.training_loops import WORKLOADS, Workload, describe, seconds_of


@dataclass
class Standstill:
    """Medians, in seconds; CPU time of the training thread first, wall time second."""

    step: tuple[float, float]
    stall: tuple[float, float]
    between: float


def standstill(workload: Workload, probes: int) -> Standstill:
    """Measure one workload over so many probes."""
    steps, stalls = [], []
    with tempfile.TemporaryDirectory() as folder:
        monitor = foldmon.watch(workload.model, workload.held_out, every=10**9, exporters=[], log_dir=folder)
        monitor.flush()
        subject, sampler = monitor._subject, monitor._sampler

        def begin_probe() -> None:
            subject.snapshot()
            sampler.offer(_nothing)

        for _ in range(probes):
            steps.append(_timed(workload.step))
            stalls.append(_timed(begin_probe))
            sampler.wait()
        counter = monitor._counter
        assert counter is not None
        between = seconds_of(lambda: counter.stepped(workload.optimizer), 20_000) / 20_000
        between -= seconds_of(_nothing, 20_000) / 20_000
        monitor.close()
    return Standstill(_medians(steps), _medians(stalls), between)


def _timed(action: Callable[[], None]) -> tuple[float, float]:
    cpu, wall = time.thread_time(), time.perf_counter()
    action()
    return time.thread_time() - cpu, time.perf_counter() - wall


def _medians(times: list[tuple[float, float]]) -> tuple[float, float]:
    cpu, wall = zip(*times, strict=True)
    return statistics.median(cpu), statistics.median(wall)


def _nothing() -> None:
    """A job that only wakes the thread."""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--probes", type=int, default=60)
    options = parser.parse_args()
    print(f"{describe()}; medians over {options.probes} probes\n")
    print(
        "| workload | parameters | step, CPU ms | standstill, CPU ms | share | step, wall ms "
        "| standstill, wall ms | share | between probes, µs a step |"
    )
    print("| --- |" + " ---: |" * 8)
    for name, make in WORKLOADS.items():
        torch.manual_seed(0)
        workload = make()
        seconds_of(workload.step, 10)
        found = standstill(workload, options.probes)
        count = sum(p.numel() for p in workload.model.parameters())
        cells = [f"{count:,}"]
        for step, stall in zip(found.step, found.stall, strict=True):
            cells += [f"{1e3 * step:.2f}", f"{1e3 * stall:.3f}", f"{stall / step:.1%}"]
        print(f"| {name} | " + " | ".join(cells) + f" | {1e6 * found.between:.2f} |")


if __name__ == "__main__":
    main()
