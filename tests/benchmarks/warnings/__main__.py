"""The benchmark of warnings: ``python -m tests.benchmarks.warnings`` from the root of the repository.

Fetches the data, trains the runs that are not stored yet, and prints tables. A round takes about half an
hour of one core; it may be interrupted and goes on where it stopped. ``--part development`` shows what a
detector may be tuned on; the other part is for judging one that is done.
"""

from __future__ import annotations

import argparse
import logging
from collections import Counter
from pathlib import Path

import torch
from tqdm import tqdm

from tests.benchmarks.warnings.detectors import SHOWN, Verdict, judged
from tests.benchmarks.warnings.grid import LOSS_ONLY, Spec, grid
from tests.benchmarks.warnings.peers import PEERS
from tests.benchmarks.warnings.store import complete, read
from tests.benchmarks.warnings.table import Judged, by_group, summary
from tests.benchmarks.warnings.truth import truth_of

_FOLDMON = {
    "foldmon, labels and training loss": "validation labels, training loss",
    "foldmon, labels": "validation labels",
    "foldmon, no labels, training loss": "training loss",
    "foldmon, no labels": "nothing",
}
_MAIN = ("foldmon, labels and training loss", "foldmon, no labels, training loss")
_OF_CLASSES = (
    "foldmon, no labels, training loss",
    "foldmon, no labels",
    "early stopping, patience 5, accuracy",
    "early stopping, patience 10, accuracy",
    "Label Wave",
)
"""What needs classes, and has no row where a task has none."""
_FIELDS = ("condition", "data", "architecture")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.warnings", description=__doc__)
    parser.add_argument("--rounds", type=int, default=2, help="rounds of the grid, default 2")
    parser.add_argument("--seconds", type=float, default=3600.0, help="train no longer than this")
    parser.add_argument("--folder", type=Path, default=Path("runs/warnings/runs"), help="of the runs")
    parser.add_argument("--part", choices=("development", "held apart"), help="judge this part alone")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    logging.getLogger("foldmon").setLevel(logging.ERROR)  # what it warns of is in the tables
    specs = [spec for spec in grid(arguments.rounds) if arguments.part in (None, spec.part)]
    complete(arguments.folder, specs, arguments.seconds)
    print(report(judge(arguments.folder, specs)))


def judge(folder: Path, specs: list[Spec]) -> list[Judged]:
    """Every detector's verdict on every stored run."""
    found = []
    for run in tqdm(read(folder, specs), "judging", total=len(specs), disable=None):
        run["loss_only"] = run["spec"]["data"] in LOSS_ONLY
        verdicts = {name: judged(run, shown) for name, shown in SHOWN.items()}
        verdicts |= {name: Verdict(rule(run)) for name, (_, rule) in PEERS.items()}
        found.append(Judged(run["spec"], truth_of(run, run["loss_only"]), verdicts))
    return found


def report(runs: list[Judged]) -> str:
    """All tables."""
    needs = _FOLDMON | {name: need for name, (need, _) in PEERS.items()}
    parts = []
    for part in ("held apart", "development"):
        for title, loss_only in (("classification", False), ("loss only", True)):
            group = [run for run in runs if run.spec["part"] == part and run.truth.accuracy != loss_only]
            rows = {name: need for name, need in needs.items() if not (loss_only and name in _OF_CLASSES)}
            if group:
                counts = Counter(run.truth.degraded for run in group)
                parts.append(
                    f"### {part.capitalize()}: {title} ({len(group)} runs: {counts[True]} degraded, "
                    f"{counts[False]} not)\n\n{summary(group, rows)}"
                )
        group = [run for run in runs if run.spec["part"] == part]
        for name in _MAIN if group else ():
            parts += [f"{name}, by {field}:\n\n{by_group(group, name, field)}" for field in _FIELDS]
    return "\n".join(parts)


if __name__ == "__main__":
    main()
