"""Probe time over the bare forward pass of the same points, in the same chunks.

The two are measured in turn in one process and the medians are compared; the spread of the single
ratios is printed beside them. The bare pass gets its points ready-made: interpolating them counts as
the probe's cost.

    OMP_NUM_THREADS=1 python tests/benchmarks/probe_overhead.py
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import nn
from workloads import WORKLOADS, Workload

from foldmon import Pairs
from foldmon.folding.model.prober import Prober
from foldmon.folding.sampled.report import measure_sampled
from foldmon.folding.sampled.walk import paths_at_once


def bare_pass(model: nn.Module, prober: Prober, workload: Workload) -> Callable[[], None]:
    """The forward passes alone, over the points that the probe makes and in its chunks."""
    count = paths_at_once(workload.paths, workload.points, prober.rows_at_once)
    t = torch.linspace(0, 1, workload.points)
    chunks = []
    for low in range(0, workload.paths, count):
        rows = torch.arange(low, min(low + count, workload.paths))
        chunks.append(prober.paths.rows(rows[None], t[:, None]))

    def run() -> None:
        with torch.no_grad():
            for inputs in chunks:
                model(inputs)

    return run


def compare(workload: Workload, repeats: int) -> tuple[float, float, list[float]]:
    """Median seconds of the bare pass and of the probe, and the ratio of each repeat."""
    model = workload.build().eval()
    pairs = Pairs(*workload.pairs())
    prober = Prober(model, pairs)
    bare = bare_pass(model, prober, workload)
    times: list[tuple[float, float]] = []
    for repeat in range(repeats + 1):
        began = time.perf_counter()
        bare()
        middle = time.perf_counter()
        measure_sampled(prober, workload.points)
        if repeat:  # the first round warms up
            times.append((middle - began, time.perf_counter() - middle))
    bare_times, probe_times = zip(*times, strict=True)
    return (
        statistics.median(bare_times),
        statistics.median(probe_times),
        sorted(probe / alone for alone, probe in times),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--threads", type=int, default=None, help="default: OMP_NUM_THREADS")
    parser.add_argument("--only", default="", help="part of the names of the models to measure")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} thread(s), {arguments.repeats} repeats")
    print(f"{'model':24}{'evaluations':>12}{'bare s':>10}{'probe s':>10}{'ratio':>8}   middle half of ratios")
    for workload in (each for each in WORKLOADS if arguments.only in each.name):
        bare, probe, ratios = compare(workload, arguments.repeats)
        quarter = len(ratios) // 4
        spread = f"{ratios[quarter]:.3f} to {ratios[-1 - quarter]:.3f}"
        count = workload.paths * workload.points
        ratio = statistics.median(ratios)
        print(
            f"{workload.name:24}{count:>12,}{bare:>10.3f}{probe:>10.3f}{ratio:>8.3f}   {spread}", flush=True
        )


if __name__ == "__main__":
    main()
