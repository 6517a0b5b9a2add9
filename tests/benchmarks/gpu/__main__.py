"""What the one line costs on a GPU, with the tests that need one: under six minutes on one device.

    python -m tests.benchmarks.gpu [--device cuda] [--seconds 25] [--no-tests] [--small]

Each workload trains for some seconds without foldmon and, from the same state, with it at its defaults. The
table tells steps a second of both, what probes cost by foldmon's own account and beyond its contract, the
longest standstill of the training thread at a probe, peak memory of both, and the time of a probe over that
of the bare forward passes of its points. It needs torch, numpy and this repository, and downloads nothing.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from torch import nn

import foldmon
from foldmon.folding.model.prober import Prober
from foldmon.folding.sampled.report import measure_sampled
from foldmon.folding.sampled.walk import paths_at_once
from foldmon.folding.undisturbed.accelerator import module_of, names_of_devices
from foldmon.journal.following import read_journal
from tests.benchmarks.gpu.models import Workload, workloads

HEAD = (
    f"{'workload':42}{'steps/s':>9}{'with':>9}{'cost s':>8}{'contract':>9}{'probes':>7}{'stall ms':>9}"
    f"{'step ms':>9}{'GiB':>6}{'with':>6}{'probe/bare':>11}"
)


class Device:
    """What is asked of the device, nothing where it is the CPU."""

    def __init__(self, kind: str) -> None:
        self.name, self._module = torch.device(kind), module_of(kind)

    def wait(self) -> None:
        """Until all that was launched has run."""
        if self._module is not None:
            self._module.synchronize()

    def forget_peak(self) -> None:
        """Begin to look for the largest use of memory anew."""
        if self._module is not None:
            self._module.empty_cache()
            self._module.reset_peak_memory_stats()

    @property
    def peak(self) -> float:
        """Most memory that torch had reserved, in GiB; NaN on the CPU."""
        return float("nan") if self._module is None else self._module.max_memory_reserved() / 2**30


def trained(workload: Workload, device: Device, seconds: float, watched: bool) -> dict[str, Any]:
    """Train for so long; figures of the run."""
    torch.manual_seed(0)
    device.forget_peak()
    model = workload.build().to(device.name)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    batches = [workload.inputs(workload.batch).to(device.name) for _ in range(4)]
    cast: Callable[[], Any] = nullcontext
    if workload.half:
        cast = lambda: torch.autocast(device.name.type, torch.bfloat16)  # noqa: E731

    def step(number: int) -> None:
        inputs = batches[number % 4]
        with cast():
            outputs = model(inputs)
        workload.loss(outputs, inputs).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    for number in range(5):
        step(number)
    device.wait()
    monitor = None
    if watched:
        monitor = foldmon.watch(model, workload.inputs(160), exporters=[], log_dir=tempfile.mkdtemp())
    began, steps = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        step(steps)
        steps += 1
        if steps % 8 == 0:
            device.wait()  # or the loop would run far ahead of the device
    device.wait()
    taken = time.perf_counter() - began
    found: dict[str, Any] = {"steps_a_second": steps / taken, "peak_gib": device.peak, "seconds": taken}
    if monitor is not None:
        cost = monitor._contract.cost
        monitor.close(last=0)
        probes = [r for r in read_journal(monitor.journal_path) if r["kind"] == "probe"]
        stalls = [record["monitor"].get("stall_seconds", 0.0) for record in probes]
        found |= {
            "cost_seconds": cost, "contract_seconds": 0.01 * taken + 1.0, "probes": len(probes),
            "longest_stall_ms": 1000 * max(stalls, default=0.0),
        }  # fmt: skip
    return found


def probe_over_bare(workload: Workload, device: Device, points: int, repeats: int = 3) -> float:
    """Time of a probe of some pairs over that of the forward passes of its points alone."""
    torch.manual_seed(0)
    model: nn.Module = workload.build().to(device.name).eval()
    pairs = foldmon.draw_pairs(workload.inputs(16), 4)
    prober = Prober(model, pairs)
    at_once = paths_at_once(len(pairs), points, prober.rows_at_once)
    rows = workload.inputs(min(at_once * points, prober.rows_at_once)).to(device.name)
    passes = len(pairs) * points / len(rows)

    def seconds(run: Callable[[], Any]) -> float:
        device.wait()
        began = time.perf_counter()
        run()
        device.wait()
        return time.perf_counter() - began

    def bare() -> None:
        with torch.no_grad():
            prober.forward(model, rows)

    ratios = []
    for repeat in range(repeats + 1):
        alone = passes * seconds(bare)
        whole = seconds(lambda: measure_sampled(prober, points))
        if repeat:
            ratios.append(whole / alone)
    return statistics.median(ratios)


def row(workload: Workload, device: Device, seconds: float) -> dict[str, Any]:
    """One line of the table."""
    alone, watched = (trained(workload, device, seconds, watched) for watched in (False, True))
    ratio = probe_over_bare(workload, device, points=33)
    print(
        f"{workload.name:42}{alone['steps_a_second']:>9.2f}{watched['steps_a_second']:>9.2f}"
        f"{watched['cost_seconds']:>8.2f}{watched['contract_seconds']:>9.2f}{watched['probes']:>7}"
        f"{watched['longest_stall_ms']:>9.2f}{1000 / alone['steps_a_second']:>9.2f}"
        f"{alone['peak_gib']:>6.1f}{watched['peak_gib']:>6.1f}{ratio:>11.3f}",
        flush=True,
    )
    return {"workload": workload.name, "alone": alone, "watched": watched, "probe_over_bare": ratio}


def main() -> None:
    """Run the tests, then the table; the last line is all figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--seconds", type=float, default=25.0, help="of each run; there are six")
    parser.add_argument("--no-tests", action="store_true")
    parser.add_argument("--small", action="store_true", help="shrunk models, to try the benchmark itself")
    arguments = parser.parse_args()
    device = Device(arguments.device)
    card = (names_of_devices() or [arguments.device])[0] if arguments.device != "cpu" else "cpu"
    print(f"{card}, torch {torch.__version__}")
    if not arguments.no_tests:
        command = [sys.executable, "-m", "pytest", "-q", "-x", "--timeout=120", "tests/gpu"]
        subprocess.run(command, check=False, timeout=180)
    print(HEAD)
    rows = [row(each, device, arguments.seconds) for each in workloads(arguments.small)]
    print(json.dumps({"device": card, "torch": torch.__version__, "rows": rows}))


if __name__ == "__main__":
    main()
