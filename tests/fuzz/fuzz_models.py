"""Trains models, data and loops at random, each with and without foldmon, and tells where anything differs.

    python -m tests.fuzz.fuzz_models --combinations 2000

Compared are losses, weights, optimizer states, all random states, everything that the model and the held-out
data hold, open files, and at the end the memory. The first hundred are part of the test suite
(``tests/faults/test_hostile.py``).
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import logging
import os
import random
import tempfile
import time
import warnings
from collections import Counter
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

import foldmon
from tests.fuzz.hostile import CLASSES, DATA, OPTIMIZERS, WIDTH, Combination, plain, surroundings

STEPS = 6
MEASURED = [0, 0]
"""How many combinations were not measured, and how many were."""


def trained(combination: Combination, watched: bool) -> dict[str, Any]:
    """What a short training leaves behind."""
    parts = combination.parts
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    model, weights = combination.model()
    data, optimizer = DATA[parts["data"]](), OPTIMIZERS[parts["optimizer"]](weights)
    monitor = None
    with tempfile.TemporaryDirectory() as folder:
        if watched:
            options = {name: parts[name] for name in ("background", "every")}
            # Where it is refused in words, training must be the same all the more.
            with contextlib.suppress(ValueError):
                monitor = foldmon.watch(
                    model, data, optimizer=optimizer, pairs=4, points=5, samples=8, exporters=[],
                    log_dir=folder, **options,
                )  # fmt: skip
        losses = []
        for step in range(STEPS):
            if step == STEPS // 2:
                getattr(model, "later", int)()
            x, y = torch.randn(8, WIDTH), torch.randint(CLASSES, (8,))
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            if monitor is not None:
                monitor.flush()
        found = {
            "losses": losses,
            "optimizer": plain(optimizer.state_dict(), {}),
            **surroundings(model, data),
        }
        if monitor is not None:
            monitor.close()
        found["measured"] = 0 if monitor is None else len(monitor.history)
    return found


def differences(combination: Combination) -> list[str]:
    """What is otherwise with foldmon, by name."""
    without = trained(combination, watched=False)
    gc.collect()
    files = set(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else set()
    watched = trained(combination, watched=True)
    without.pop("measured")
    MEASURED[min(watched.pop("measured"), 1)] += 1
    found = [name for name, value in without.items() if not _same(value, watched[name])]
    del without, watched
    gc.collect()
    if files and len(os.listdir("/proc/self/fd")) > len(files) + 1:
        found.append("open files")
    return found


def _same(a: Any, b: Any) -> bool:
    return repr(a) == repr(b)  # NaN is the same as NaN here


def resident() -> float:
    """Memory of this process, in MiB."""
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--combinations", type=int, default=2000)
    parser.add_argument("--first", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.getLogger("foldmon").setLevel(logging.ERROR)
    gc.collect()
    gc.freeze()  # what is there already need not be looked through each time
    began, memory, found = time.perf_counter(), 0.0, Counter[str]()
    for number, seed in enumerate(range(options.first, options.first + options.combinations), 1):
        combination = Combination(seed)
        try:
            differing = differences(combination)
        except Exception as error:
            differing = [f"{type(error).__name__}: {error}"[:200]]
        if differing:
            found.update(differing)
            print(f"{', '.join(differing)}\n    {combination}", flush=True)
        if number == 100:
            memory = resident()
        if number % 200 == 0:
            print(f"{number} tried, {sum(found.values())} found, {resident():.0f} MiB", flush=True)
    print(
        f"{options.combinations} combinations in {time.perf_counter() - began:.0f} s: "
        f"{dict(found) or 'nothing differs'}; {MEASURED[1]} were measured; "
        f"memory grew by {resident() - memory:.1f} MiB after the first 100"
    )


if __name__ == "__main__":
    main()
