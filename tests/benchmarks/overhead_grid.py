"""What watching costs: a grid of workload x interval, bad rows included, beside delve on the same work.

    pip install --no-deps --target DELVE delve
    PYTHONPATH=.:DELVE python -m tests.benchmarks.overhead_grid

Each cell is the time of a block of training steps with the tool over that of as many steps without it. Blocks
with and without alternate in one process; the cell is the median of the paired ratios. Blocks of synchronous
tools are as long as the interval (at least 4 steps), those of the background at least 64 steps, so that each
holds a probe. delve writes its layer saturations as often as foldmon its folding. Without delve on the path
its column is left out.
"""

from __future__ import annotations

import argparse
import copy
import importlib.util
import statistics
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

import foldmon
from foldmon.monitor.lifetime import open_monitors
from tests.benchmarks.training_loops import WORKLOADS, Workload, describe, seconds_of


@contextmanager
def foldmon_background(workload: Workload, every: int, folder: str) -> Iterator[Callable[[], None]]:
    with foldmon.watch(
        workload.model, workload.held_out, every=every, exporters=["tensorboard"], log_dir=folder
    ) as monitor:
        monitor.flush()
        yield workload.step


@contextmanager
def foldmon_synchronous(workload: Workload, every: int, folder: str) -> Iterator[Callable[[], None]]:
    with foldmon.watch(
        workload.model,
        workload.held_out,
        every=every,
        exporters=["tensorboard"],
        log_dir=folder,
        background=False,
    ):
        yield workload.step


@contextmanager
def delve_saturation(workload: Workload, every: int, folder: str) -> Iterator[Callable[[], None]]:
    from delve import SaturationTracker  # type: ignore[import-not-found]

    tracker = SaturationTracker(folder, "csv", workload.model, log_interval=every, device="cpu")
    count = 0

    def step() -> None:
        nonlocal count
        workload.step()
        count += 1
        if count % every == 0:
            tracker.add_saturations()

    yield step
    tracker.close()


TOOLS = {
    "foldmon, background": (foldmon_background, 64),
    "foldmon, synchronous": (foldmon_synchronous, 4),
    "delve": (delve_saturation, 4),
}


def slowdown(tool: str, make: Callable[[], Workload], every: int, repeats: int) -> float:
    """Median ratio of a block with the tool to one without."""
    watching, least = TOOLS[tool]
    steps = max(every, least)
    torch.manual_seed(0)
    plain = make()
    watched = Workload(copy.deepcopy(plain.model), plain.inputs, plain.labels, plain.held_out)
    seconds_of(plain.step, 4)
    ratios = []
    with tempfile.TemporaryDirectory() as folder, watching(watched, every, folder) as step:
        for _ in range(repeats):
            with_tool = seconds_of(step, steps)
            # A probe still under way must not run into the block without.
            for monitor in open_monitors():
                monitor.flush()
            ratios.append(with_tool / seconds_of(plain.step, steps))
    return statistics.median(ratios)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--workloads", nargs="+", default=list(WORKLOADS))
    parser.add_argument("--every", nargs="+", type=int, default=[1, 4, 16, 64, 256])
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    tools = [tool for tool in TOOLS if tool != "delve" or importlib.util.find_spec("delve") is not None]
    print(f"{describe()}; medians of {options.repeats} pairs of blocks\n")
    print(f"| workload | a probe every | {' | '.join(tools)} |")
    print("| --- | ---: |" + " ---: |" * len(tools))
    for name in options.workloads:
        for every in options.every:
            cells = [f"{slowdown(tool, WORKLOADS[name], every, options.repeats):.2f}x" for tool in tools]
            print(f"| {name} | {every} steps | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
