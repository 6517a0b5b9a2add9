"""A probe of a sharded model, predicted and measured: ``python -m tests.benchmarks.sharded_probe``.

The formulas are those of the plan in foldmon/LIMITATIONS.md, here for a small transformer under FSDP2 in
eight processes over gloo. Seconds are predicted from a bare forward pass of one input on all ranks.
"""

from __future__ import annotations

import argparse
import logging
import math
import os
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.fsdp import fully_shard

import foldmon
from foldmon.folding.model.prober import Prober
from foldmon.sampling.team import Team

POINTS, TARGET = 33, 16 * 2**20  # points of a path; bytes of the largest activation of a pass on the CPU
KEPT = 62 * 2**20  # bytes of freed memory that the C library is taught to keep, on the CPU
LOOKS, LOOKED_AT = 3, 2 + 3 + 5  # passes that look the model over before each probe, and their inputs

_GATHER = "all_gather_single" if hasattr(dist, "all_gather_single") else "all_gather_into_tensor"
"""What FSDP2 gathers weights with, in this version of torch."""


class Block(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.norm, self.attention = nn.LayerNorm(width), nn.MultiheadAttention(width, 2, batch_first=True)
        self.up, self.act, self.down = nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        normed = self.norm(x)
        x = x + self.attention(normed, normed, normed, need_weights=False)[0]
        return x + self.down(self.act(self.up(x)))


class Transformer(nn.Module):
    def __init__(self, layers: int, width: int, hidden: int, tokens: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.head = nn.Embedding(tokens, width), nn.Linear(width, 8)
        self.blocks = nn.Sequential(*(Block(width, hidden) for _ in range(layers)))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.blocks(self.embed(x)).mean(1))


class Seen:
    """What a rank really moves and holds in a block: bytes of weights and of marks, passes, peak memory.

    Not reached from the model: a probe would put it back.
    """

    def __init__(self) -> None:
        self.weights = self.marks = self.passes = self.peak = 0
        self._before = _resident()

    @contextmanager
    def counting(self) -> Iterator[None]:
        gather, unite, run = getattr(dist, _GATHER), Team.unite, Prober.run

        def gathered(output: Tensor, own: Tensor, *args, **kwargs):
            self.weights += output.nbytes - own.nbytes
            return gather(output, own, *args, **kwargs)

        def united(team: Team, bits) -> None:
            self.marks += bits.nbytes
            unite(team, bits)

        def ran(*args, **kwargs):
            self.passes += 1
            return run(*args, **kwargs)

        ended = threading.Event()
        watcher = threading.Thread(target=self._watch_memory, args=(ended,))
        watcher.start()
        with (
            mock.patch.object(dist, _GATHER, gathered),
            mock.patch.object(Team, "unite", united),
            mock.patch.object(Prober, "run", ran),
        ):
            yield
        ended.set()
        watcher.join()

    def _watch_memory(self, ended: threading.Event) -> None:
        while not ended.wait(0.005):
            self.peak = max(self.peak, _resident() - self._before)


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def measure(layers: int, width: int, hidden: int, tokens: int, pairs: int) -> None:
    """What one rank does; the first prints."""
    warnings.filterwarnings("ignore")
    logging.disable()
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    ranks = dist.get_world_size()
    model = Transformer(layers, width, hidden, tokens)
    weights = sum(parameter.nbytes for parameter in model.parameters())
    block = sum(parameter.nbytes for parameter in model.blocks[0].parameters())
    embedding = weights - block * layers
    for part in (*model.blocks, model):
        fully_shard(part)
    data = torch.randint(0, tokens, (4 * pairs, tokens), generator=torch.Generator().manual_seed(1))
    seen = Seen()
    monitor = foldmon.watch(
        model, data, pairs=pairs, samples=0, exporters=[], log_dir=tempfile.mkdtemp(), every=10**9
    )
    one = min(_seconds(lambda: model.eval()(data[:1])) for _ in range(5))
    began = time.perf_counter()
    with seen.counting():
        monitor.probe()
    took = time.perf_counter() - began
    units = sum(monitor.report.units)
    monitor.close(last=0)
    if dist.get_rank() == 0:
        rows = TARGET // (tokens * hidden * 4)
        share = math.ceil(pairs / ranks)
        passes = share * math.ceil(POINTS / rows)
        received = (passes + LOOKS) * weights + 3 * embedding  # that many end at what embeds
        _print(
            ("passes, but for three that look the model over", passes, seen.passes),
            (
                "weights that a rank receives, MiB",
                received * (1 - 1 / ranks) / 2**20,
                seen.weights / 2**20,
            ),
            ("marks of single units, KiB", 2 * units / 8 / 2**10, seen.marks / 2**10),
            (
                "peak memory of a probe, MiB",
                (4 * TARGET + KEPT + block + 3 * units / 4) / 2**20,
                seen.peak / 2**20,
            ),
            ("seconds", (share * POINTS + LOOKED_AT) * one, took),
        )
    dist.destroy_process_group()


def _seconds(work) -> float:
    with torch.no_grad():
        began = time.perf_counter()
        work()
        return time.perf_counter() - began


def _print(*rows: tuple[str, float, float]) -> None:
    print("| a probe of one pair a rank | predicted | measured |\n| --- | --- | --- |")
    for name, predicted, measured in rows:
        print(f"| {name} | {predicted:,.1f} | {measured:,.1f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ranks", type=int, default=8)
    parser.add_argument("--pairs", type=int, default=8)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--hidden", type=int, default=2048)
    parser.add_argument("--tokens", type=int, default=256)
    options = vars(parser.parse_args())
    ranks = options.pop("ranks")
    if "RANK" in os.environ:
        measure(**options)
        return
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"]
    raise SystemExit(
        subprocess.run([*command, "-m", "tests.benchmarks.sharded_probe", *sys.argv[1:]]).returncode
    )


if __name__ == "__main__":
    main()
