"""A long run, compressed: memory, threads and file handles must not grow.

    python -m tests.benchmarks.soak --steps 200000 --probes 2000

The first half is warm-up: until then the allocator settles and ``monitor.history`` fills up.
"""

from __future__ import annotations

import argparse
import gc
import os
import tempfile
import threading
import time
from dataclasses import dataclass

import torch
from torch import nn

import foldmon

GROWTH_ALLOWED = 4.0  # MiB in the second half; the resident size moves by pages, not by objects


@dataclass(frozen=True)
class Sample:
    """What the process holds at one step."""

    step: int
    probes: int
    resident: float  # MiB
    threads: int
    files: int
    objects: int


def resident_mib() -> float:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def take_sample(monitor: foldmon.Monitor) -> Sample:
    gc.collect()
    return Sample(
        step=monitor.steps,
        probes=monitor.steps // (monitor.config.every or 1) + 1 - monitor.skipped,
        resident=resident_mib(),
        threads=threading.active_count(),
        files=len(os.listdir("/proc/self/fd")),
        objects=len(gc.get_objects()),
    )


def soak(steps: int, probes: int, samples: int = 10, background: bool = True) -> list[Sample]:
    """Train a small network and watch it; every due probe is made, none is skipped.

    Args:
        steps: training steps.
        probes: probes among them.
        samples: how often to look at the process, evenly.
        background: probe beside training.
    """
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 3)
    )
    optimizer = torch.optim.Adam(model.parameters())
    inputs, labels = torch.randn(256, 8), torch.randint(3, (256,))
    taken = []
    with (
        tempfile.TemporaryDirectory() as folder,
        foldmon.watch(
            model,
            (inputs, labels),
            every=steps // probes,
            pairs=16,
            points=17,
            method="sampled",
            background=background,
            exporters=["tensorboard"],
            log_dir=folder,
        ) as monitor,
    ):
        for step in range(1, steps + 1):
            rows = torch.arange(4 * step, 4 * step + 8) % 256
            loss = nn.functional.cross_entropy(model(inputs[rows]), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            if step % (steps // probes) == 0:
                monitor._sampler.wait()
            optimizer.step()
            if step % (steps // samples) == 0:
                monitor.flush()
                taken.append(take_sample(monitor))
    return taken


def growth(taken: list[Sample]) -> float:
    """MiB that the resident size grew by in the second half; means of two, since it alternates."""
    half = [sample.resident for sample in taken[len(taken) // 2 :]]
    return (sum(half[-2:]) - sum(half[:2])) / 2


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=200_000)
    parser.add_argument("--probes", type=int, default=2_000)
    parser.add_argument("--synchronous", action="store_true")
    options = parser.parse_args()
    began = time.perf_counter()
    taken = soak(options.steps, options.probes, background=not options.synchronous)
    print("| step | probes | resident MiB | threads | files | Python objects |")
    print("| ---: | ---: | ---: | ---: | ---: | ---: |")
    for s in taken:
        print(f"| {s.step:,} | {s.probes:,} | {s.resident:.1f} | {s.threads} | {s.files} | {s.objects:,} |")
    half = taken[len(taken) // 2 - 1 :]
    steady = len({(s.threads, s.files) for s in half}) == 1
    print(
        f"\nSecond half: {growth(taken):+.2f} MiB, threads and files {'steady' if steady else 'NOT steady'}; "
        f"{time.perf_counter() - began:.0f} s in all."
    )
    raise SystemExit(growth(taken) > GROWTH_ALLOWED or not steady)


if __name__ == "__main__":
    main()
