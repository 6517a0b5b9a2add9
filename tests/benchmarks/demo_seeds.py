"""Whether the demo shows its point: ``python -m tests.benchmarks.demo_seeds --seeds 20``.

Runs ``foldmon demo`` once a seed, each some half a minute, and prints of each twin its held-out accuracy
(best and last) and the warnings, with the accuracy at each.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from foldmon.commands import demo
from foldmon.journal.following import read_journal
from foldmon.journal.schema import ProbeRecord, is_probe


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.demo_seeds", description=__doc__)
    parser.add_argument("--seeds", type=int, default=20, help="how many, default 20")
    seeds = parser.parse_args().seeds
    warned = {"healthy": 0, "noisy-labels": 0}
    for seed in range(seeds):
        with tempfile.TemporaryDirectory() as folder:
            demo.run(folder, mlflow=False, quiet=True, seed=seed)
            for journal in sorted(Path(folder).glob("*/*/foldmon/journal.jsonl")):
                name, probes = journal.parts[-3], [r for r in read_journal(journal) if is_probe(r)]
                events = [record for record in probes if record["warning"]["event"] is not None]
                warned[name] += bool(events)
                accuracies = [_accuracy(record) for record in probes]
                said = ", ".join(f"step {record['step']} at {_accuracy(record):.1%}" for record in events)
                print(
                    f"{seed:>3} {name:<13} best {max(accuracies):.1%} last {accuracies[-1]:.1%} {said or '-'}"
                )
    for name, count in warned.items():
        print(f"{name}: warned in {count} of {seeds}")


def _accuracy(record: ProbeRecord) -> float:
    held_out = record.get("held_out")
    return 0.0 if held_out is None else held_out["accuracy"] or 0.0


if __name__ == "__main__":
    main()
