"""The benchmark of warnings: ``python -m tests.benchmarks.warnings`` from the root of the repository.

Trains the runs that are not stored yet, and writes tables and two plots. The small grid (one round) takes
about 20 minutes of one core, three rounds an hour; either may be interrupted and goes on where it stopped.
``--tune`` fits the shipped forests again, on all stored runs, and writes them where the detector reads them;
the tables judge forests that were fitted without the runs they are judged on.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from tqdm import tqdm

from tests.benchmarks.warnings.detectors import Verdicts, family_left_out, held_apart
from tests.benchmarks.warnings.features import Run, as_run
from tests.benchmarks.warnings.grid import grid
from tests.benchmarks.warnings.plots import draw
from tests.benchmarks.warnings.store import complete, read
from tests.benchmarks.warnings.table import by_group, summary
from tests.benchmarks.warnings.tuning import FOLDING, LOSS, OUTPUTS, forest

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
    runs = [as_run(stored) for stored in tqdm(read(store), "signals of runs", disable=None)]
    if arguments.tune:
        shipped = {"with loss": FOLDING + OUTPUTS + LOSS, "without loss": FOLDING + OUTPUTS}
        tuned = {name: forest(readings, runs).to_dict() for name, readings in shipped.items()}
        TUNED.write_text(json.dumps(tuned, separators=(",", ":")) + "\n")
    report(runs, arguments.folder)


def report(runs: list[Run], folder: Path) -> None:
    """Print the tables, and write them and the plots to the folder."""
    development = [run for run in runs if run.spec["part"] == "development"]
    apart = [run for run in runs if run.spec["part"] == "held apart"]
    parts = []
    if development and apart:
        verdicts = held_apart(development, apart)
        parts.append(
            _section("Tuned on the development part, judged on the part held apart", verdicts, apart)
        )
        parts += _groups(verdicts, apart)
    verdicts = family_left_out(runs)
    parts.append(_section("Each family of data left out of tuning in turn", verdicts, runs))
    parts += _groups(verdicts, runs)
    draw(verdicts, runs, folder)
    text = "\n".join(parts)
    (folder / "table.md").write_text(text)
    print(text)


def _groups(verdicts: list[Verdicts], runs: list[Run]) -> list[str]:
    """Where the two forms of foldmon's own detector warn."""
    return [
        f"{verdict.name}, by {field}:\n\n{by_group(verdict, runs, field)}"
        for verdict in verdicts[:2]
        for field in ("condition", "data", "architecture")
    ]


def _section(title: str, verdicts: list[Verdicts], runs: list[Run]) -> str:
    kinds = [run.outcome.kind for run in runs]
    counts = ", ".join(f"{kinds.count(kind)} {kind}" for kind in ("clear", "slight", "healthy"))
    return f"### {title} ({len(runs)} runs: {counts})\n\n{summary(verdicts, runs)}"


if __name__ == "__main__":
    main()
