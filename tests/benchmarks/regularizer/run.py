"""Does rewarding folding help? Runs what is missing of the grid, then writes the table and the plot.

    python tests/benchmarks/regularizer/run.py --results runs/regularizer

Every contender gets eight configurations. Each is trained with four tuning seeds; the one of the highest
mean validation accuracy (of the lowest log-loss among equals) is trained with twenty fresh seeds and
scored on the test part, which no tuning run ever saw. A line is appended for every trained network, so
that an interrupted run goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from statistics import mean

from contenders import COMBINED, OTHERS, Configuration, combined_grid, grid, plain_grid
from report import write_report
from settings import SETTINGS, Setting
from train import train

TUNING_SEEDS = range(1000, 1004)


class Results:
    """Scores by network trained, kept in a file of JSON lines."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        lines = path.read_text().splitlines() if path.exists() else []
        self._done = {self._key(record): record for record in map(json.loads, lines)}

    @staticmethod
    def _key(record: dict[str, object]) -> tuple[object, ...]:
        return record["setting"], record["configuration"], record["seed"], record["part"]

    def get(self, setting: Setting, configuration: Configuration, seed: int, part: str) -> dict[str, float]:
        """The scores, from the file or by training."""
        record = {"setting": setting.name, "configuration": configuration.key, "seed": seed, "part": part}
        key = self._key(record)
        if key not in self._done:
            began = time.perf_counter()
            record["scores"] = train(setting, configuration, seed, test=part == "test")
            record["seconds"] = round(time.perf_counter() - began, 3)
            with self.path.open("a") as file:
                file.write(json.dumps(record) + "\n")
            self._done[key] = record
        return self._done[key]["scores"]


def tune(results: Results, setting: Setting, configurations: list[Configuration]) -> Configuration:
    """The configuration with the best validation scores."""

    def quality(configuration: Configuration) -> tuple[float, float]:
        scores = [results.get(setting, configuration, seed, "validation") for seed in TUNING_SEEDS]
        return mean(s["accuracy"] for s in scores), -mean(s["log_loss"] for s in scores)

    return max(configurations, key=quality)


def run_setting(results: Results, setting: Setting, seeds: range) -> list[dict[str, object]]:
    """Tune and test every contender; one row a contender and seed."""
    chosen = {"none": tune(results, setting, plain_grid())}
    for name in (*OTHERS, "folding"):
        chosen[name] = tune(results, setting, grid(name, chosen["none"].lr))
    best = tune(results, setting, [chosen[name] for name in OTHERS])
    chosen[COMBINED] = tune(results, setting, combined_grid(best))
    best_name = next(name for name in OTHERS if chosen[name] == best)
    return [
        {
            "setting": setting.name,
            "contender": name,
            "best_other": best_name,
            "configuration": configuration.key,
            "seed": seed,
            **results.get(setting, configuration, seed, "test"),
        }
        for name, configuration in chosen.items()
        for seed in seeds
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=Path("runs/regularizer"))
    parser.add_argument(
        "--settings", nargs="*", default=[s.name for s in SETTINGS], help="names; all by default"
    )
    parser.add_argument("--seeds", type=int, default=20)
    arguments = parser.parse_args()
    results = Results(arguments.results / "results.jsonl")
    rows: list[dict[str, object]] = []
    for setting in SETTINGS:
        if setting.name in arguments.settings:
            rows += run_setting(results, setting, range(arguments.seeds))
            write_report(rows, arguments.results)
            print(f"{setting.name} done", flush=True)
    print((arguments.results / "summary.md").read_text())


if __name__ == "__main__":
    main()
