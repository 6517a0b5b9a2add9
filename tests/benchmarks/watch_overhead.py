"""What the one line costs: training with and without ``foldmon.watch``, paired, in one run.

Blocks of training steps with and without a monitor alternate; each pair gives one ratio. Beside it stand
the share that the monitor itself reports, and how long the training thread stands still at a probe.

    OMP_NUM_THREADS=1 python tests/benchmarks/watch_overhead.py
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from dataclasses import dataclass
from itertools import pairwise

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F

import foldmon
from foldmon.commands.demo import digits_cnn
from foldmon.journal.following import read_journal


@dataclass
class Workload:
    model: nn.Module
    inputs: torch.Tensor
    labels: torch.Tensor
    batch: int

    def optimizer(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.model.parameters(), lr=1e-4)

    def train(self, optimizer: torch.optim.Optimizer, seconds: float) -> float:
        """Train for about this long; seconds a step."""
        steps, began = 0, time.perf_counter()
        while time.perf_counter() - began < seconds:
            rows = torch.randint(0, len(self.labels), (self.batch,))
            loss = F.cross_entropy(self.model(self.inputs[rows]), self.labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            steps += 1
        return (time.perf_counter() - began) / steps


def digits_workload() -> Workload:
    data = load_digits()
    images = torch.tensor(data.images / 16, dtype=torch.float32).unsqueeze(1)
    return Workload(digits_cnn(), images, torch.tensor(data.target), batch=64)


def mlp_workload() -> Workload:
    widths = [64, *[512] * 6]
    layers = [m for a, b in pairwise(widths) for m in (nn.Linear(a, b), nn.ReLU())]
    data = load_digits()
    inputs = torch.tensor(data.data / 16, dtype=torch.float32)
    return Workload(nn.Sequential(*layers, nn.Linear(512, 10)), inputs, torch.tensor(data.target), batch=256)


def measure(workload: Workload, budget: float, pairs: int, seconds: float) -> dict[str, float]:
    held_out = workload.inputs[-500:], workload.labels[-500:]
    optimizer = workload.optimizer()
    workload.train(optimizer, seconds / 4)  # warm up
    ratios, steps, stalls, shares = [], [], [], []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(pairs):
            bare = workload.train(optimizer, seconds)
            monitor = foldmon.watch(
                workload.model, held_out, budget=budget, exporters=["tensorboard"], log_dir=folder
            )
            monitor.flush()  # the first probe, before any step, is no part of training
            watched = workload.train(optimizer, seconds)
            shares.append(monitor.overhead)
            monitor.close()
            ratios.append(watched / bare)
            steps.append(bare)
        records = read_journal(f"{folder}/foldmon/journal.jsonl")
        stalls = [r["monitor"]["stall_seconds"] for r in records if r["kind"] == "probe" and r["step"] > 0]
    return {
        "step_ms": 1e3 * statistics.median(steps),
        "ratio": statistics.median(ratios),
        "ratio_low": min(ratios),
        "ratio_high": max(ratios),
        "reported_share": statistics.median(shares),
        "probes": len(stalls),
        "stall_ms": 1e3 * statistics.median(stalls) if stalls else float("nan"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--budget", type=float, default=0.01)
    parser.add_argument("--pairs", type=int, default=7, help="pairs of blocks")
    parser.add_argument("--seconds", type=float, default=6.0, help="of one block")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.manual_seed(0)
    results = {
        name: measure(workload, options.budget, options.pairs, options.seconds)
        for name, workload in (("digits CNN", digits_workload()), ("MLP 6 x 512", mlp_workload()))
    }
    if options.json:
        print(json.dumps(results, indent=2))
        return
    print(
        f"{'':<12} {'step':>9} {'with/without':>13} {'range':>15} {'reported':>9} {'probes':>7} "
        f"{'standstill':>11} {'of a step':>10}"
    )
    for name, r in results.items():
        print(
            f"{name:<12} {r['step_ms']:>6.2f} ms {r['ratio']:>13.3f} "
            f"{r['ratio_low']:>7.3f}-{r['ratio_high']:<7.3f} {r['reported_share']:>9.2%} "
            f"{r['probes']:>7} {r['stall_ms']:>8.3f} ms {r['stall_ms'] / r['step_ms']:>10.1%}"
        )


if __name__ == "__main__":
    main()
