"""What ``import foldmon`` takes beside ``import torch``: fresh processes in turn, medians.

    python tests/benchmarks/import_time.py            # 15 rounds
    python tests/benchmarks/import_time.py --rounds 31

User plus system time of each process is shown beside wall time: it says the same on a busy machine. Bytecode
is cached for both, in a temporary folder, as it is after an installation.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

STATEMENTS = {"torch": "import torch", "foldmon": "import torch, foldmon"}


def once(statement: str, environment: dict[str, str]) -> tuple[float, float]:
    """Wall and processor seconds of a fresh interpreter."""
    before, began = os.times(), time.perf_counter()
    subprocess.run([sys.executable, "-c", statement], check=True, env=environment)
    wall, after = time.perf_counter() - began, os.times()
    children = after.children_user + after.children_system - before.children_user - before.children_system
    return wall, children


def rounds(count: int, environment: dict[str, str]) -> Iterator[dict[str, tuple[float, float]]]:
    for index in range(count):
        names = list(STATEMENTS) if index % 2 else list(reversed(STATEMENTS))
        yield {name: once(STATEMENTS[name], environment) for name in names}


def main() -> None:
    parser = argparse.ArgumentParser(description="Import time of foldmon beside torch's alone.")
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": cache, "PYTHONDONTWRITEBYTECODE": ""}
        for statement in STATEMENTS.values():
            once(statement, environment)  # bytecode, and the disk's cache
        measured = list(rounds(options.rounds, environment))
    print(f"{'':<10} {'torch':>9} {'torch, foldmon':>15} {'ratio':>7}  (medians of {options.rounds})")
    for place, label in enumerate(("wall", "processor")):
        alone = statistics.median(row["torch"][place] for row in measured)
        both = statistics.median(row["foldmon"][place] for row in measured)
        print(f"{label:<10} {alone:>8.3f}s {both:>14.3f}s {both / alone:>7.3f}")


if __name__ == "__main__":
    main()
