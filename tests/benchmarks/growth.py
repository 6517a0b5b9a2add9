"""How the time of a probe grows with points, pairs, width and depth, as a log-log plot.

OMP_NUM_THREADS=1 python tests/benchmarks/growth.py --output plots
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import matplotlib as mpl
import numpy as np
import torch
from workloads import mlp

import foldmon

BASE = {"points": 33, "pairs": 64, "width": 256, "depth": 6}
SWEEPS = {
    "points": (17, 33, 65, 129, 257, 513),
    "pairs": (16, 32, 64, 128, 256, 512),
    "width": (64, 128, 256, 512, 1024),
    "depth": (3, 6, 12, 24, 48),
}


def probe_seconds(size: dict[str, int], repeats: int) -> float:
    """Median time of a probe of an MLP."""
    torch.manual_seed(0)
    model = mlp(size["width"], size["depth"])
    ends = torch.randn(2, size["pairs"], size["width"])
    times = []
    for _ in range(repeats + 1):
        began = time.perf_counter()
        foldmon.measure(model, (ends[0], ends[1]), points=size["points"])
        times.append(time.perf_counter() - began)
    return statistics.median(times[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--output", type=Path, required=True, help="folder of the plot")
    arguments = parser.parse_args()
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, 4, figsize=(14, 3.4), sharey=True, layout="constrained")
    for axis, (name, values) in zip(axes, SWEEPS.items(), strict=True):
        times = [probe_seconds(BASE | {name: value}, arguments.repeats) for value in values]
        half = len(values) // 2
        slope = np.polyfit(np.log(values[-half - 1 :]), np.log(times[-half - 1 :]), 1)[0]
        axis.loglog(values, times, "o-", color="#1f5fa8")
        axis.set(xlabel=name, title=f"time ~ {name}^{slope:.2f}")
        axis.grid(alpha=0.3, which="both")
        shown = ", ".join(f"{value}: {t * 1e3:.1f}" for value, t in zip(values, times, strict=True))
        print(f"{name:7} exponent {slope:.2f}; ms by {name}: {shown}", flush=True)
    axes[0].set_ylabel("seconds a probe")
    rest = ", ".join(f"{name} {value}" for name, value in BASE.items())
    figure.suptitle(f"Probe of an MLP; one size varied, else {rest}; {torch.get_num_threads()} thread(s)")
    arguments.output.mkdir(parents=True, exist_ok=True)
    path = arguments.output / "growth.png"
    figure.savefig(path, dpi=130)
    print(f"plot: {path}")


if __name__ == "__main__":
    main()
