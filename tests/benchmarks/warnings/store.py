"""Runs on disk: one JSON line a run, so that an interrupted benchmark goes on where it stopped."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tqdm import tqdm

from tests.benchmarks.warnings.grid import Spec
from tests.benchmarks.warnings.training import train


def complete(path: Path, specs: Iterable[Spec], seconds: float) -> None:
    """Train what is not there yet, until all is or the time is up."""
    path.parent.mkdir(parents=True, exist_ok=True)
    done = {run["key"] for run in read(path)}
    began = time.perf_counter()
    wanted = [spec for spec in specs if spec.key not in done]
    for number, spec in enumerate(tqdm(wanted, "training", disable=None)):
        if time.perf_counter() - began > seconds:
            print(f"time is up: {len(wanted) - number} runs are left for the next call")
            return
        at = time.perf_counter()
        run = {"key": spec.key, **train(spec), "seconds": time.perf_counter() - at}
        with path.open("a") as file:
            file.write(json.dumps(run) + "\n")


def read(path: Path) -> Iterator[dict[str, Any]]:
    """The runs, one after the other; a last line that was cut off is left out."""
    if not path.exists():
        return
    with path.open() as file:
        for line in file:
            if line.endswith("\n"):
                yield json.loads(line)
