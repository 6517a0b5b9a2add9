"""What the one line shows, and what it costs, at its defaults: on short runs, and a longer one.

    python -m tests.benchmarks.live --data /tmp/live [--only digits gpt2] [--quick] [--threads 1 2] [--write]

Every run is in a process of its own; runs with and without the line alternate. An interrupted benchmark goes
on where it was. What is kept of the whole panel holds for any version of foldmon; after a change of the code,
--again makes the other runs anew.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
from pathlib import Path

import torch
from tqdm import tqdm

from foldmon.journal.following import read_journal
from tests.benchmarks.live.courses import COURSES, Course
from tests.benchmarks.live.figures import Watched, cost, course_judged, curves, points_judged
from tests.benchmarks.live.running import Run, in_process, measure_whole, probes_of, read_whole, train
from tests.benchmarks.live.writing import Result, draw, page, tables

HERE = Path(__file__).parents[1]
HOW = """`python -m tests.benchmarks.live`: TensorBoard included, nothing printed. The contract is `budget`
times the training time, plus one second. *Journal*: wall time of the probes in training and the standstill
for them. *Loop*: wall time of the training loop with the line less without it, which holds every change of
the machine's load too; *beside*: CPU time of all threads but the training's, likewise, which does not;
medians and ranges of pairs of runs. *Standstill*: of the training thread for the copy of the weights, of all
probes over the whole training, and of one over the step that it follows; medians. Errors are root mean
squares, over the range of the curve, against the whole panel measured offline, in a second training that is
bit for bit the same: at the curve's points, and over the course, where the curve is held between its points:
at steps as dense as the interval that is wished, which neither curve has chosen. *Whole panel held*: all 64
pairs at 33 points, at equal cost and under the same rules: within the contract at every moment, a probe only
when the one before has ended, the first of them begun as training begins; evenly in time or as densely early
as it can, whichever errs least. *Ratio*: of the error over the course to its. *Covered*: share of the points
whose interval holds the whole panel's phi.

Aims: the number of points; cost at most 1.1 of the contract; standstill at most 5% of a step; an error of at
most 15%, and at most half (ratio 0.5) of the whole panel's held."""


def result(name: str, course: Course, steps: int, folder: Path, threads: int, repeats: int) -> Result:
    """Make the runs of a course that are not kept yet, and judge them."""
    watched, plain = [], []
    for place in range(repeats):
        # Neither is always the first of its pair.
        for with_line in (True, False) if place % 2 == 0 else (False, True):
            kept = folder / f"{'watched' if with_line else 'plain'}-{place}"
            run = _kept_or_made(name, steps, kept, with_line, threads)
            if not with_line:
                plain.append(run)
                continue
            journal = kept / "foldmon" / "journal.jsonl"
            config = next(r["config"] for r in read_journal(journal) if r["kind"] == "start")
            watched.append(Watched(run, probes_of(journal)[: run.probes], config))
    first = watched[0]
    if any(run.weights != first.run.weights for run in [*plain, *(w.run for w in watched)]):
        raise RuntimeError(f"{name}: runs with and without the line end in different weights")
    at = sorted({*points_judged(course, first), *course_judged(course, steps)})
    whole = folder.parent / f"{folder.name}-whole.jsonl"
    in_process(threads, measure_whole, name, steps, whole, first.run, at, first.config)
    found = read_whole(whole, {"weights": first.run.weights, "pairs": first.run.pairs})
    return Result(course, steps, first, plain, cost(watched, plain), curves(course, first, found))


def _kept_or_made(name: str, steps: int, folder: Path, with_line: bool, threads: int) -> Run:
    kept = folder / "run.json"
    if kept.exists():
        return Run(**json.loads(kept.read_text()))
    shutil.rmtree(folder, ignore_errors=True)
    return in_process(threads, train, name, steps, folder, with_line)


def machine(results: list[Result]) -> str:
    """The conditions, in words."""
    version = torch.__version__.split("+")[0]
    loads = [run.load for result in results for run in [*result.plain, result.watched.run]]
    return (
        f"torch {version} on a CPU of {os.cpu_count()} cores; no GPU. Processes running "
        f"or waiting, the benchmark's own among them: {min(loads):.1f} to {max(loads):.1f}."
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.live",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, default=Path("runs/live"), help="where the runs are kept")
    parser.add_argument("--only", nargs="+", choices=COURSES, default=list(COURSES), help="these courses")
    parser.add_argument("--pairs", type=int, default=5, help="runs with and without the line, default 5")
    parser.add_argument("--threads", type=int, nargs="+", default=[1], help="intra-op threads, default 1")
    parser.add_argument("--quick", action="store_true", help="a quarter of the steps, one pair of runs")
    parser.add_argument("--again", action="store_true", help="forget the kept runs (not the whole panel)")
    parser.add_argument("--write", action="store_true", help="write RESULTS-live.md and figures/live.png")
    arguments = parser.parse_args()
    sections, every = {}, []
    for threads in arguments.threads:
        results = []
        for name in (bar := tqdm(arguments.only, disable=None)):
            bar.set_description(f"{name}, {threads} thread(s)")
            course = COURSES[name]
            steps = course.steps // 4 if arguments.quick else course.steps
            folder = arguments.data / f"threads-{threads}" / f"{name}-{steps}"
            if arguments.again:
                shutil.rmtree(folder, ignore_errors=True)
            repeats = 1 if arguments.quick else min(arguments.pairs, course.repeats)
            results.append(result(name, course, steps, folder, threads, repeats))
        sections[threads] = tables(results)
        every += results
        print(f"\n{threads} intra-op thread(s). {machine(results)}\n\n{sections[threads]}\n", flush=True)
    if arguments.write:
        draw(every[: len(arguments.only)], HERE / "figures" / "live.png")
        (HERE / "RESULTS-live.md").write_text(page(sections, machine(every), HOW))


if __name__ == "__main__":
    main()
