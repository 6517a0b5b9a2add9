"""What exporters cost: python -m tests.benchmarks.exporter_cost

The time of ``write`` for one probe (in a delivery's thread) and what it leaves on disk, at 10, 200 and 1,000
layers; the mean has the pictures of some probes in it, the median has not. Then the training thread: the step
time of one loop with TensorBoard and MLflow, and without exporters, in turns.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import mlflow
import torch

import foldmon
from foldmon.exporters.base import Exporter
from foldmon.journal.writing import JSONLExporter
from tests.benchmarks.training_loops import mlp
from tests.exporters.examples import probe

_PROBES, _STEPS, _ROUNDS = 32, 200, 3


@contextlib.contextmanager
def _working_in(folder: str) -> Iterator[None]:
    """MLflow puts artifacts under the working folder."""
    before = os.getcwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def exporter(name: str, folder: Path) -> Exporter:
    if name == "journal":
        return JSONLExporter(folder / "journal.jsonl")
    if name == "tensorboard":
        return foldmon.TensorBoardExporter(folder)
    return foldmon.MLflowExporter()


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def cost(name: str, layers: int) -> tuple[float, float, float]:
    """Median and mean milliseconds, and bytes, of a probe."""
    with tempfile.TemporaryDirectory() as place, _working_in(place):
        folder = Path(place)
        mlflow.set_tracking_uri(f"sqlite:///{folder / 'mlflow.db'}")
        made = exporter(name, folder)
        before, times = size(folder), []
        for step in range(_PROBES):
            record = probe(step, 0.001 * step, layers)
            begun = time.perf_counter()
            made.write([record])
            times.append(1e3 * (time.perf_counter() - begun))
        made.close()
        return statistics.median(times), statistics.mean(times), (size(folder) - before) / _PROBES


def step_time(exporters: list[str]) -> float:
    """Median microseconds of a training step with a probe every 10 steps."""
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as place, _working_in(place):
        mlflow.set_tracking_uri(f"sqlite:///{Path(place) / 'mlflow.db'}")
        work, times = mlp(), []
        with foldmon.watch(work.model, work.held_out, every=10, pairs=16, exporters=exporters, log_dir=place):
            for _ in range(_STEPS):
                begun = time.perf_counter()
                work.step()
                times.append(1e6 * (time.perf_counter() - begun))
        return statistics.median(times)


def main() -> None:
    print("| exporter | layers | median ms | mean ms | bytes a probe |\n| --- | ---: | ---: | ---: | ---: |")
    for name in ("journal", "tensorboard", "mlflow"):
        for layers in (10, 200, 1000):
            with open(os.devnull, "w") as nowhere, patch("sys.stdout", nowhere), patch("sys.stderr", nowhere):
                middle, mean, written = cost(name, layers)
            print(f"| {name} | {layers:,} | {middle:.2f} | {mean:.2f} | {written:,.0f} |", flush=True)
    pairs = [(step_time([]), step_time(["tensorboard", "mlflow"])) for _ in range(_ROUNDS)]
    without, beside = (statistics.median(side) for side in zip(*pairs, strict=True))
    ratios = sorted(b / a for a, b in pairs)
    print(f"step: {without:.0f} us without, {beside:.0f} us with; ratios {ratios[0]:.2f} to {ratios[-1]:.2f}")


if __name__ == "__main__":
    main()
