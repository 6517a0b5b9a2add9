"""Whether the tests notice: small changes of the code, one at a time, drawn at random from each room.

    pip install cosmic-ray pytest-cov
    python -m tests.benchmarks.mutants --data /tmp/mutants [--rooms journal warning] [--each 25] [--seed 0]

The changes are Cosmic Ray's, at places drawn at random with one of its operators there, in a copy of the
checkout. Each is judged by the tests that run its lines, as coverage.py sees them in one run of all tests
beforehand: at most 40, those of its module first, then those that run least else. An interrupted benchmark
goes on where it was. Survivors are printed with their change; what they tell is in RESULTS-mutants.md.
"""

from __future__ import annotations

import argparse
import os
import random
import shlex
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from cosmic_ray.commands import init
from cosmic_ray.mutating import mutate_and_test
from cosmic_ray.work_db import WorkDB, use_db
from cosmic_ray.work_item import MutationSpec, WorkerOutcome, WorkResult
from coverage import CoverageData
from tqdm import tqdm

from foldmon.folding.results.statistics import wilson_interval

ROOT = Path(__file__).parents[2]
ROOMS = (
    "config",
    "folding/auto",
    "folding/data",
    "folding/exact",
    "folding/model",
    "folding/results",
    "folding/sampled",
    "folding/symbols",
    "folding/undisturbed",
    "sampling",
    "monitor",
    "warning",
    "journal",
    "exporters",
    "views",
    "regularize",
    "commands",
    "integrations",
)
LEFT_OUT = (
    *(f"tests/{room}" for room in ("benchmarks", "fuzz", "gpu", "packaging", "real", "training")),
    *(f"tests/{file}.py" for file in ("test_readme", "faults/test_hostile", "views/test_browser")),
)
"""What takes minutes each time."""
MOST, LONGEST = 40, 150.0
"""Tests of one change, and seconds that they may take before it counts as noticed."""
PYTEST = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider")


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


class Reach:
    """Which tests run which lines.

    Args:
        kept: what coverage.py found in the copy, the working folder; it is made where there is none.
    """

    def __init__(self, kept: Path) -> None:
        failed = kept.with_suffix(".failed")
        if not kept.exists():
            left_out = [f"--ignore={folder}" for folder in LEFT_OUT]
            cover = ["--cov=foldmon", "--cov=integrations", "--cov-context=test", "--cov-report="]
            found = kept.with_suffix(".new")
            lines = subprocess.run(
                [*PYTEST, "-rfE", *cover, *left_out, "tests", "foldmon", "integrations"],
                env={**os.environ, "COVERAGE_FILE": str(found)}, capture_output=True, text=True,
            ).stdout.splitlines()  # fmt: skip
            failed.write_text("\n".join(line for line in lines if line.startswith(("FAILED", "ERROR"))))
            found.rename(kept)
        # What fails without any change tells nothing.
        self._useless = {line.split(" ")[1] for line in failed.read_text().splitlines()}
        data = CoverageData(str(kept))
        data.read()
        self._lines: dict[Path, dict[int, list[str]]] = {}
        for file in data.measured_files():
            by_line = data.contexts_by_lineno(file)
            names = {line: [n.partition("|")[0] for n in tests if n] for line, tests in by_line.items()}
            self._lines[Path(file).relative_to(Path.cwd())] = names
        self._size = Counter(t for lines in self._lines.values() for tests in lines.values() for t in tests)

    def tests(self, module: Path, first: int, last: int) -> list[str]:
        """The tests that are to notice a change of some lines: none where they run in no test."""
        lines = self._lines.get(module, {})
        # Only the first line of a statement may be noted, and of one that runs at import no test is.
        begin = next((line for line in range(first, max(first - 8, 0), -1) if lines.get(line)), first)
        found = {test for line in range(begin, last + 1) for test in lines.get(line, ())}
        found = found or {test for tests in lines.values() for test in tests}
        own = f"test_{module.name}"
        return sorted(found - self._useless, key=lambda test: (own not in test, self._size[test], test))[
            :MOST
        ]


def judged(
    room: str, each: int, seed: int, folder: Path, reach: Reach
) -> Iterator[tuple[MutationSpec, WorkResult]]:
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
        for item in tqdm(list(db.pending_work_items), desc=room, disable=None):
            spec = item.mutations[0]
            tests = reach.tests(spec.module_path, spec.start_pos[0], spec.end_pos[0])
            command = shlex.join([*PYTEST, "-x", *tests]) if tests else "true"
            result = mutate_and_test(item.mutations, command, LONGEST)
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
    parser.add_argument("--rooms", nargs="+", choices=ROOMS, default=ROOMS, help="these rooms")
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
        "PYTHONPATH": f"{copy}{os.pathsep}{os.environ.get('PYTHONPATH', '')}",
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
        "MPLBACKEND": "Agg",
    }
    rows = ["| room | changes | noticed | share, 95% interval |", "| --- | ---: | ---: | --- |"]
    os.chdir(copy)
    reach = Reach(folder / "reach.coverage")
    for room in arguments.rooms:
        found = list(judged(room, arguments.each, arguments.seed, folder, reach))
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
