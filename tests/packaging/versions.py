"""The test suite in each promised version of Python and torch: ``python tests/packaging/versions.py``.

Makes an environment for each row from nothing (several GB each where torch comes with CUDA), runs the suite
and mypy in it, and prints the table of the README. Ready environments of an earlier call are used again.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROWS = [
    ("3.10", "2.14.1"),
    ("3.11", "2.14.1"),
    ("3.12", "2.14.1"),
    ("3.13", "2.14.1"),
    ("3.11", "2.13.0"),
    ("3.12", "2.13.0"),
    ("3.11", "2.6.0"),
]
"""Python and torch: all Pythons with the newest torch, the pair that CI runs, the oldest torch promised."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", default=[], help="rows such as 3.10/2.14.1; all by default")
    parser.add_argument("--folder", type=Path, default=Path("runs/versions"), help="of the environments")
    parser.add_argument("--processes", type=int, default=2, help="of pytest")
    parser.add_argument("tests", nargs="*", default=[], help="paths of tests; all by default")
    arguments = parser.parse_args()
    print("| Python | torch | tests | mypy |\n| --- | --- | --- | --- |", flush=True)
    failed = False
    for python, torch in ROWS:
        if arguments.only and f"{python}/{torch}" not in arguments.only:
            continue
        home = (arguments.folder / f"{python}-{torch}").absolute()
        try:
            _make(home, python, torch)
            tests, passed = _run_tests(home, arguments.processes, arguments.tests)
            types, typed = _run_mypy(home, python)
        except (FileNotFoundError, subprocess.CalledProcessError) as error:
            tests, types, passed, typed = f"not installed: {error}", "", False, False
        print(f"| {python} | {torch} | {tests} | {types} |", flush=True)
        failed |= not (passed and typed)
    raise SystemExit(failed)


def _make(home: Path, python: str, torch: str) -> None:
    """An environment with the package and all that its tests need, unless it is there."""
    if (home / "ready").exists():
        return
    shutil.rmtree(home, ignore_errors=True)
    subprocess.run([_interpreter(python), "-m", "venv", home], check=True)
    install = [
        home / "bin" / "python",
        "-m",
        "pip",
        "install",
        "-q",
        f"torch=={torch}",
        "-e",
        f"{ROOT}[test]",
    ]
    subprocess.run(install, check=True, stdout=sys.stderr)
    (home / "ready").touch()


def _interpreter(version: str) -> str:
    managed = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))
    found = str(managed[-1]) if managed else shutil.which(f"python{version}")
    if found is None:
        raise FileNotFoundError(f"python{version}")
    return found


def _run_tests(home: Path, processes: int, tests: list[str]) -> tuple[str, bool]:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "MPLBACKEND": "Agg"}
    command = [home / "bin" / "pytest", "-q", "-n", str(processes), *tests]
    log = home / "pytest.txt"
    with log.open("w") as file:
        done = subprocess.run(command, cwd=ROOT, env=environment, stdout=file, stderr=subprocess.STDOUT)
    last = log.read_text().rstrip().rpartition("\n")[2]
    return re.sub(r"\x1b\[\d*m|=", "", last).strip() or f"exit status {done.returncode}", done.returncode == 0


def _run_mypy(home: Path, python: str) -> tuple[str, bool]:
    command = [home / "bin" / "mypy", "--python-version", python]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    return done.stdout.rstrip().rpartition("\n")[2], done.returncode == 0


if __name__ == "__main__":
    main()
