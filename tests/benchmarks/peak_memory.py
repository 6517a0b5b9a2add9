"""Peak memory of a probe over that of the bare forward pass, in the same chunks: by depth, and of wide ends.

Every figure comes from a process of its own: the highest resident memory, less what was resident before
(the model, its inputs and the libraries). Linux with glibc only.

    OMP_NUM_THREADS=1 python tests/benchmarks/peak_memory.py
"""

from __future__ import annotations

import argparse
import ctypes
import statistics
import subprocess
import sys
from pathlib import Path

import torch
from torch import nn
from workloads import WORKLOADS, Workload, mlp

from foldmon import Pairs
from foldmon.folding.model.prober import Prober
from foldmon.folding.sampled.report import measure_sampled
from foldmon.folding.sampled.walk import paths_at_once

DEPTHS = (
    Workload(
        f"MLP {depth} x 512", lambda depth=depth: mlp(depth=depth), lambda n: torch.randn(n, 512), 256, 33
    )
    for depth in (6, 24, 96)
)
WIDE = (
    Workload(
        "200,000 inputs",
        lambda: nn.Sequential(nn.Linear(200_000, 64), nn.ReLU(), nn.Linear(64, 10)),
        lambda n: torch.randn(n, 200_000),
        64,
        33,
    ),
    Workload(
        "20,000 outputs a token",
        lambda: nn.Sequential(nn.Embedding(20_000, 32), nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 20_000)),
        lambda n: torch.randint(20_000, (n, 32)),
        64,
        33,
    ),
)
CASES: dict[str, Workload] = {workload.name: workload for workload in (*WORKLOADS, *DEPTHS, *WIDE)}


def bare_pass(prober: Prober, paths: int, points: int) -> None:
    """The forward passes alone, in the probe's chunks, each chunk's points made just before it."""
    count = paths_at_once(paths, points, prober.rows_at_once)
    t = torch.linspace(0, 1, points)
    with torch.no_grad():
        for low in range(0, paths, count):
            rows = torch.arange(low, min(low + count, paths))
            prober.model(prober.paths.rows(rows[None], t[:, None]))


def _resident(field: str) -> int:
    """A field of this process's memory, in bytes: VmRSS now, VmHWM at its highest."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))


def child(case: str, kind: str) -> None:
    """Print the bytes that one run of ``kind`` adds at its peak."""
    workload = CASES[case]
    torch.manual_seed(0)
    model = workload.build().eval()
    pairs = Pairs(*workload.pairs())
    prober = Prober(model, pairs)
    bare_pass(prober, 2, 2)  # warms up
    measure_sampled(prober, 2)
    ctypes.CDLL(None).malloc_trim(0)  # what the warm-up freed counts as free
    Path("/proc/self/clear_refs").write_text("5")  # starts VmHWM anew
    before = _resident("VmRSS")
    if kind == "bare":
        bare_pass(prober, workload.paths, workload.points)
    else:
        measure_sampled(prober, workload.points)
    print(_resident("VmHWM") - before)


def peak(case: str, kind: str, repeats: int) -> float:
    """Median MiB over processes."""
    command = [sys.executable, __file__, "--child", case, kind]
    runs = [subprocess.run(command, check=True, capture_output=True, text=True) for _ in range(repeats)]
    return statistics.median(int(run.stdout) for run in runs) / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("cases", nargs="*", help="which ones; all without")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(*arguments.child)
        return
    print(f"{'model':24}{'bare MiB':>10}{'probe MiB':>11}{'ratio':>8}")
    for case in arguments.cases or CASES:
        bare, probe = (peak(case, kind, arguments.repeats) for kind in ("bare", "probe"))
        print(f"{case:24}{bare:>10.1f}{probe:>11.1f}{probe / bare:>8.3f}", flush=True)


if __name__ == "__main__":
    main()
