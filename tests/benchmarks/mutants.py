"""Whether the tests notice: small changes of the code, one at a time, drawn at random from each room.

    pip install cosmic-ray
    python -m tests.benchmarks.mutants --data /tmp/mutants [--rooms journal warning] [--each 25] [--seed 0]

The changes are Cosmic Ray's, at places drawn at random with one of its operators there, in a copy of the
checkout. Each is judged by the tests of its module, then by those of its room. An interrupted benchmark goes
on where it was. Survivors are printed with their change; what they tell is in RESULTS-mutants.md.
"""

from __future__ import annotations

import argparse
import os
import random
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from cosmic_ray.commands import init
from cosmic_ray.mutating import mutate_and_test
from cosmic_ray.testing import run_tests
from cosmic_ray.work_db import WorkDB, use_db
from cosmic_ray.work_item import MutationSpec, TestOutcome, WorkerOutcome, WorkResult
from tqdm import tqdm

from foldmon.folding.results.statistics import wilson_interval

ROOT = Path(__file__).parents[2]
ROOMS = {
    "config": (),
    "folding/results": (
        "tests/folding/test_against_reference.py",
        "tests/folding/model/test_judging.py",
        "tests/monitor/test_tasks.py",
    ),
    "folding/symbols": ("tests/folding/test_against_reference.py",),
    "folding/model": ("tests/folding/test_against_reference.py", "tests/folding/test_errors.py"),
    "folding/data": (),
    "folding/exact": (),
    "folding/sampled": ("tests/folding/test_sampled.py", "tests/folding/test_against_reference.py"),
    "folding/auto": (),
    "folding/undisturbed": ("tests/faults/test_models.py", "tests/faults/test_copies.py"),
    "sampling": ("tests/faults/test_copies.py", "tests/monitor"),
    "monitor": ("tests/test_watch.py", "tests/training"),
    "warning": (),
    "journal": ("tests/exporters/test_places.py", "tests/faults/test_exporters.py"),
    "exporters": (),
    "views": (),
    "regularize": (),
    "commands": (),
    "integrations": (),
}
"""Rooms, and what tests them beside ``tests/`` of the same name."""


def says_nothing(operator: str) -> bool:
    """Whether a change is the same for most values: identity for equality, or ``|`` of an annotation."""
    kind, *words = operator.split("_")
    is_comparison, what = "Comparison" in kind, set(words)
    alike = {"Is", "Eq"}, {"IsNot", "NotEq"}
    return (is_comparison and (what in alike or words[-1] in ("Is", "IsNot"))) or "BitOr" in words


def drawn(specs: dict[str, MutationSpec], count: int, seed: int) -> set[str]:
    """So many places at random, and of each place one of its changes, by their job."""
    draw, places = random.Random(seed), {}
    for job, spec in sorted(specs.items(), key=lambda item: (str(item[1].module_path), item[1].start_pos)):
        if not says_nothing(spec.operator_name):
            places.setdefault((spec.module_path, spec.start_pos), []).append(job)
    chosen = draw.sample(sorted(places), min(count, len(places)))
    return {draw.choice(sorted(places[place])) for place in chosen}


def command(module: Path, room: str) -> str:
    """The tests that are to notice a change of a module, the nearest first."""
    beside = Path("tests", *module.parts[module.parts[0] == "foldmon" :])
    own, of_room = beside.with_name(f"test_{module.name}"), Path("tests", room)
    paths = dict.fromkeys(map(str, (own, module, beside.parent, of_room, *ROOMS[room])))
    found = [path for path in paths if Path(path).exists()]
    # pytest drops files that a folder given before holds, and runs the others in this order.
    return shlex.join([sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *found])


def judged(room: str, each: int, seed: int, folder: Path) -> Iterator[tuple[MutationSpec, WorkResult]]:
    """The changes drawn in a room, and what became of each."""
    home = Path(room) if room == "integrations" else Path("foldmon", room)
    modules = sorted(path for path in home.rglob("*.py") if "demo" not in path.name)
    kept = folder / f"{room.replace('/', '-')}-{each}-{seed}.sqlite"
    new = not kept.exists()
    with use_db(kept, WorkDB.Mode.create) as db:
        if new:
            init(modules, db, {})
            specs = {item.job_id: item.mutations[0] for item in db.work_items}
            left_out = specs.keys() - drawn(specs, each, seed)
            db.set_multiple_results(left_out, WorkResult(worker_outcome=WorkerOutcome.SKIPPED))
        pending = list(db.pending_work_items)
        if pending:
            began = time.perf_counter()
            outcome, output = run_tests(command(modules[0], room), 1800)
            if outcome != TestOutcome.SURVIVED:
                raise RuntimeError(f"{room}: its tests fail without any change:\n{output[-3000:]}")
            most = 60 + 4 * (time.perf_counter() - began)
        for item in tqdm(pending, desc=room, disable=None):
            spec = item.mutations[0]
            result = mutate_and_test(item.mutations, command(spec.module_path, room), most)
            db.set_result(item.job_id, result)
        specs = {item.job_id: item.mutations[0] for item in db.work_items}
        results = dict(db.results)
    for job, result in results.items():
        if result.worker_outcome == WorkerOutcome.NORMAL:
            yield specs[job], result


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.mutants",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, default=Path("runs/mutants"), help="where the work is kept")
    parser.add_argument("--rooms", nargs="+", choices=ROOMS, default=list(ROOMS), help="these rooms")
    parser.add_argument("--each", type=int, default=25, help="changes a room, default 25")
    parser.add_argument("--seed", type=int, default=0, help="another one draws other changes, default 0")
    arguments = parser.parse_args()
    folder, copy = arguments.data.resolve(), arguments.data.resolve() / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    for name in filter(None, files.stdout.split("\0")):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, copy / name)
    os.environ |= {
        "PYTHONPATH": str(copy),
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
        "MPLBACKEND": "Agg",
    }
    rows = ["| room | changes | noticed | share, 95% interval |", "| --- | ---: | ---: | --- |"]
    os.chdir(copy)
    for room in arguments.rooms:
        found = list(judged(room, arguments.each, arguments.seed, folder))
        noticed = sum(result.is_killed for _, result in found)
        low, high = (float(end) for end in wilson_interval(noticed / len(found), len(found)))
        share = f"{noticed / len(found):.0%} [{low:.0%}, {high:.0%}]"
        rows.append(f"| {room} | {len(found)} | {noticed} | {share} |")
        for spec, result in found:
            if not result.is_killed:
                where = f"{spec.module_path}:{spec.start_pos[0]}"
                print(f"survived: {where} {spec.operator_name}\n{result.diff}\n", flush=True)
    print("\n".join(rows))


if __name__ == "__main__":
    main()
