"""Runs on disk: one file a run, so that an interrupted benchmark goes on where it stopped."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from tests.benchmarks.warnings.grid import Spec
from tests.benchmarks.warnings.training import train


def complete(folder: Path, specs: Sequence[Spec], seconds: float) -> None:
    """Train what is not there yet, until all is or the time is up."""
    folder.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    wanted = [spec for spec in specs if not (folder / f"{spec.key}.json.gz").exists()]
    for number, spec in enumerate(tqdm(wanted, "training", disable=None)):
        if time.monotonic() - began > seconds:
            print(f"time is up: {len(wanted) - number} runs are left for the next call")
            return
        write(folder, spec.key, train(spec))


def write(folder: Path, key: str, run: dict[str, Any]) -> None:
    """Keep a run; what was cut off while it was written does not count as one."""
    unfinished = folder / f"{key}.part"
    with gzip.open(unfinished, "wt", compresslevel=4) as file:
        json.dump(run, file, separators=(",", ":"))
    unfinished.rename(folder / f"{key}.json.gz")


def read(folder: Path, specs: Sequence[Spec]) -> Iterator[dict[str, Any]]:
    """Those of the runs that are there, one after the other."""
    for spec in specs:
        if (path := folder / f"{spec.key}.json.gz").exists():
            with gzip.open(path, "rt") as file:
                yield json.load(file)
