"""The benchmark of warnings: ``python -m tests.benchmarks.warnings`` from the root of the repository.

Trains the runs that are not stored yet, and writes a table and two plots. The small grid (one round) takes
minutes, the ten rounds of which the committed results are a part more than an hour; either may be
interrupted and goes on where it stopped. ``--tune`` fits the rules again on the development part and writes
them where the detector reads them.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from foldmon.warning.rule import Rule, tuned
from tests.benchmarks.warnings.detectors import FOLDING_ONLY, candidates, rule_candidates
from tests.benchmarks.warnings.features import Run, as_run
from tests.benchmarks.warnings.grid import grid
from tests.benchmarks.warnings.plots import draw
from tests.benchmarks.warnings.store import complete, read
from tests.benchmarks.warnings.table import by_group, summary
from tests.benchmarks.warnings.tuning import Tuner

HERE = Path(__file__).parent
# Shipped are the rules that the detector uses; the third is for the comparison.
TUNED = HERE.parents[2] / "foldmon" / "warning" / "tuned.json"
COMPARED = HERE / "folding_only.json"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.warnings", description=__doc__)
    parser.add_argument("--rounds", type=int, default=1, help="runs a data set and condition, default 1")
    parser.add_argument("--seconds", type=float, default=3600.0, help="train no longer than this")
    parser.add_argument("--folder", type=Path, default=Path("runs/warnings"), help="where the runs are kept")
    parser.add_argument("--tune", action="store_true", help="fit the rules again on the development part")
    arguments = parser.parse_args()
    store = arguments.folder / "runs.jsonl"
    complete(store, grid(arguments.rounds), arguments.seconds)
    runs = [as_run(stored) for stored in read(store)]
    tuner = Tuner([run for run in runs if run.spec["part"] == "development"])
    if arguments.tune:
        sets = rule_candidates(list(tuner.ranges))
        rules = {name: tuner.rule(keys).to_dict() for name, keys in sets.items()}
        compared = {FOLDING_ONLY: rules.pop(FOLDING_ONLY)}
        TUNED.write_text(json.dumps(rules, indent=1) + "\n")
        COMPARED.write_text(json.dumps(compared, indent=1) + "\n")
    report(runs, tuner, arguments.folder)


def report(runs: list[Run], tuner: Tuner, folder: Path) -> None:
    """Print the tables, and write them and the plots to the folder."""
    compared_only = json.loads(COMPARED.read_text())
    rules = tuned() | {name: Rule.from_dict(values) for name, values in compared_only.items()}
    compared = candidates(rules, tuner)
    parts = []
    for part in ("held apart", "development"):
        group = [run for run in runs if run.spec["part"] == part]
        kinds = [run.outcome.kind for run in group]
        counts = ", ".join(f"{kinds.count(kind)} {kind}" for kind in ("clear", "slight", "healthy"))
        parts.append(f"### Part: {part} ({len(group)} runs: {counts})\n\n{summary(compared, group)}")
        if part == "held apart":
            for candidate in compared[:2]:
                for field in ("condition", "data", "architecture", "activation"):
                    parts.append(f"{candidate.name}, by {field}:\n\n{by_group(candidate, group, field)}")
            draw(compared, group, folder)
    text = "\n".join(parts)
    (folder / "table.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
