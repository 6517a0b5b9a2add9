"""The benchmark of warnings: ``python -m tests.benchmarks.warnings`` from the root of the repository.

Trains the runs that are not stored yet, and writes tables and two plots. The small grid (one round) takes
minutes, ten rounds about an hour of one core; either may be interrupted and goes on where it stopped.
``--tune`` fits the shipped rules again, on all stored runs, and writes them where the detector reads them;
the tables judge rules that were fitted without the runs they are judged on.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from tests.benchmarks.warnings.features import Run, as_run
from tests.benchmarks.warnings.grid import grid
from tests.benchmarks.warnings.plots import draw
from tests.benchmarks.warnings.store import complete, read
from tests.benchmarks.warnings.table import Verdicts, by_group, judge, summary
from tests.benchmarks.warnings.tuning import FOLDING, LOSS, OUTPUTS, Tuner

TUNED = Path(__file__).parents[3] / "foldmon" / "warning" / "tuned.json"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.warnings", description=__doc__)
    parser.add_argument("--rounds", type=int, default=1, help="runs a data set and condition, default 1")
    parser.add_argument("--seconds", type=float, default=3600.0, help="train no longer than this")
    parser.add_argument("--folder", type=Path, default=Path("runs/warnings"), help="where the runs are kept")
    parser.add_argument("--tune", action="store_true", help="fit the shipped rules again on all stored runs")
    arguments = parser.parse_args()
    store = arguments.folder / "runs.jsonl"
    complete(store, grid(arguments.rounds), arguments.seconds)
    runs = [as_run(stored) for stored in read(store)]
    if arguments.tune:
        tuner = Tuner(runs)
        rules = {"with loss": FOLDING + OUTPUTS + LOSS, "without loss": FOLDING + OUTPUTS}
        tuned = {name: tuner.rule(keys).to_dict() for name, keys in rules.items()}
        TUNED.write_text(json.dumps(tuned, indent=1) + "\n")
    report(runs, arguments.folder)


def report(runs: list[Run], folder: Path) -> None:
    """Print the tables, and write them and the plots to the folder."""
    families = sorted({run.spec["data"] for run in runs})
    family_out = [
        (
            [run for run in runs if run.spec["data"] != family],
            [run for run in runs if run.spec["data"] == family],
        )
        for family in families
    ]
    development = [run for run in runs if run.spec["part"] == "development"]
    held_apart = [run for run in runs if run.spec["part"] == "held apart"]
    verdicts, judged = judge(family_out)
    parts = [_section("Each family of data left out of tuning in turn", verdicts, judged)]
    for verdict in verdicts[:2]:
        for field in ("condition", "data", "architecture"):
            parts.append(f"{verdict.name}, by {field}:\n\n{by_group(verdict, judged, field)}")
    parts.append(
        _section("Tuned on the development part, judged on the other", *judge([(development, held_apart)]))
    )
    draw(verdicts, judged, folder)
    text = "\n".join(parts)
    (folder / "table.md").write_text(text)
    print(text)


def _section(title: str, verdicts: list[Verdicts], runs: list[Run]) -> str:
    kinds = [run.outcome.kind for run in runs]
    counts = ", ".join(f"{kinds.count(kind)} {kind}" for kind in ("clear", "slight", "healthy"))
    return f"### {title} ({len(runs)} runs: {counts})\n\n{summary(verdicts, runs)}"


if __name__ == "__main__":
    main()
