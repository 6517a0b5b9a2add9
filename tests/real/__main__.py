"""Trainings as people write them, each with and without the one line: ``python -m tests.real``.

Each runs in processes of its own; the table says whether the line works, counts the steps and leaves every
bit as it is, how many activation layers are found beside the kernels that run, and what was said. Needs the
extra ``real``; what is not installed is left out and named.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

from tests.real import trainings  # noqa: F401 (registers them)
from tests.real.training import TRAININGS, Line, digest, kernels, seed

ROOT = Path(__file__).parents[2]
_MARK = "RESULT "


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.real", description=__doc__)
    parser.add_argument("names", nargs="*", help="of trainings; all by default")
    parser.add_argument("--one", choices=("with", "without"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    unknown = [name for name in arguments.names if name not in TRAININGS]
    if unknown:
        parser.error(f"no training is called {unknown[0]!r}; there are {', '.join(TRAININGS)}")
    if arguments.one:
        _run_here(arguments.names[0], arguments.one == "with")
        return
    print("| training | works | steps | the same bits | layers / kernels | argument | said |")
    print("| --- | --- | ---: | --- | ---: | --- | --- |", flush=True)
    failed = 0
    for name in arguments.names or TRAININGS:
        if not TRAININGS[name].installed:
            print(f"| {name} | not installed | | | | | |", flush=True)
            continue
        row = compared(name)
        failed += not row["works"]
        cells = (name, "yes" if row["works"] else "**no**", row["steps"], row["same"], row["layers"])
        print(f"| {' | '.join(map(str, cells))} | {TRAININGS[name].argument} | {row['said']} |", flush=True)
    raise SystemExit(failed > 0)


def compared(name: str, timeout: float = 600) -> dict[str, Any]:
    """Run a training with and without the line, and hold the two against each other."""
    with_line, without = (_run_apart(name, which, timeout) for which in ("with", "without"))
    if "error" in without:
        return {"works": False, "steps": "", "same": "", "layers": "", "said": f"without: {without['error']}"}
    if "error" in with_line:
        return {"works": False, "steps": "", "same": "", "layers": "", "said": with_line["error"]}
    moved = [part for part, value in without["digest"].items() if with_line["digest"][part] != value]
    refused = TRAININGS[name].refused
    said = "; ".join(with_line["said"])
    measured = bool(with_line["probes"]) and with_line["counted"] == with_line["steps"]
    return {
        "works": not moved and (refused in said if refused else measured),
        "steps": f"{with_line['counted']} of {with_line['steps']}",
        "same": f"other {', '.join(moved)}" if moved else "yes",
        "layers": f"{with_line['layers']} / {without['kernels']}",
        "said": said.replace("|", "/").replace("\n", " ")[:300],
    }


def _run_apart(name: str, which: str, timeout: float) -> dict[str, Any]:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "KERAS_BACKEND": "torch"}
    environment["PYTHONPATH"] = f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    command = [sys.executable, "-m", "tests.real", name, "--one", which]
    with tempfile.TemporaryDirectory() as folder:
        try:
            done = subprocess.run(
                command, cwd=folder, env=environment, capture_output=True, text=True, timeout=timeout
            )
        except subprocess.TimeoutExpired:
            return {"error": f"took more than {timeout:.0f} s"}
    lines = [line for line in done.stdout.splitlines() if line.startswith(_MARK)]
    if done.returncode or not lines:
        last = (done.stderr.strip() or "nothing was said").splitlines()[-1]
        return {"error": f"exit status {done.returncode}: {last}"}
    result: dict[str, Any] = json.loads(lines[-1].removeprefix(_MARK))
    return result


def _run_here(name: str, on: bool) -> None:
    said: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: said.append(record.getMessage().removeprefix("foldmon: "))  # type: ignore[method-assign]
    logging.getLogger("foldmon").addHandler(handler)
    seed()
    line = Line(on)
    began = time.perf_counter()
    try:
        outcome = TRAININGS[name].run(line)
    except Exception:
        traceback.print_exc()
        sys.exit(1)
    result: dict[str, Any] = {"digest": digest(outcome), "steps": outcome.steps}
    result["seconds"] = time.perf_counter() - began
    if line.monitor is not None:
        line.monitor.close()
        report = line.monitor.report
        result |= {
            "counted": line.monitor.steps,
            "probes": len(line.monitor.history),
            "layers": 0 if report is None else len(report.layers),
        }
    else:
        result |= {"counted": 0, "probes": 0, "layers": 0}
    result |= {"said": said, "kernels": 0 if on else kernels(outcome)}
    print(_MARK + json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
