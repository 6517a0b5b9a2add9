"""What folding adds: ``python -m tests.benchmarks.warnings.exploration``, on the development part.

Plain rules over paired, cross-fitted tests: first of the labels and of the predictions, then each reading of
folding beside them, compared run by run. Below them what a linear score and a forest over the same numbers
make of it, judged on families of data that they have not seen.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tqdm import tqdm

from tests.benchmarks.warnings.courses import Rise, class_entropy, courses, rise, running
from tests.benchmarks.warnings.detectors import Verdict
from tests.benchmarks.warnings.grid import LOSS_ONLY, grid
from tests.benchmarks.warnings.store import read
from tests.benchmarks.warnings.table import bootstrap, kind_of, mean, share
from tests.benchmarks.warnings.truth import Truth, truth_of

FOLDING = ("phi", "changes", "elsewhere", "crossings", "depth")
GAPS = ("gap phi", "gap changes", "gap elsewhere", "gap depth")
_LABELS, _PREDICTIONS = ("error", "loss"), ("turned", "churn")
_BEGIN, _DIVERSE, _LEARNED, _SETTLED = 50, 0.6, 0.5, 0.5

Rule = Callable[["Seen"], np.ndarray]
"""At which probes of a run it warns."""


@dataclass(frozen=True, eq=False)
class Seen:
    """A run as the exploration sees it.

    Attributes:
        family: of data.
        truth: of the run.
        steps: shape (T,), of the probes.
        rises: of each course, over all probes for those of labels, else above probes that may be a
            reference: from step 50 on, with predicted classes of at least 0.6 of the highest entropy.
        settled: of "turned", above probes at which it is half as high as it was at most before.
        learned: shape (T,), whether the training loss is at most half of what it was at first.
    """

    family: str
    truth: Truth
    steps: np.ndarray
    rises: dict[str, Rise]
    settled: Rise
    learned: np.ndarray


def seen(run: dict[str, Any]) -> Seen:
    """A stored run with the rises of all courses."""
    found = courses(run)
    steps = found["phi"].steps
    allowed = (steps >= _BEGIN) & (class_entropy(run) >= _DIVERSE)
    rises = {name: rise(course, None if name in _LABELS else allowed) for name, course in found.items()}
    level = running(np.nan_to_num(found["turned"].values.mean(1)), 3)
    settled = rise(found["turned"], allowed & (level <= _SETTLED * np.maximum.accumulate(level)))
    losses = np.array([record["logged"].get("loss") for record in run["records"]], dtype=np.float64)
    known = np.flatnonzero(np.isfinite(losses))
    losses = np.interp(np.arange(len(losses)), known, losses[known])
    learned = running(losses, 3) <= _LEARNED * losses[:4].max()
    return Seen(run["spec"]["data"], truth_of(run, loss_only=False), steps, rises, settled, learned)


def with_labels(reading: str | None = None) -> Rule:
    """The error rises by two points; or by one, hardly proven, and a reading beside it."""

    def rule(run: Seen) -> np.ndarray:
        error = run.rises["error"]
        warns = error.passes(0.02, 2.5)
        return warns if reading is None else warns | (error.passes(0.01, 1.0) & _passes(run, reading, 2.0))

    return rule


def without_labels(reading: str | None = None) -> Rule:
    """Predictions turn once the training loss is low, or after they had settled; or a reading rises then."""

    def rule(run: Seen) -> np.ndarray:
        turned = run.rises["turned"].passes(0.03, 3.0)
        beside = np.zeros_like(turned) if reading is None else _passes(run, reading, 3.0)
        return ((turned | beside) & run.learned) | run.settled.passes(0.03, 3.0)

    return rule


def alone(reading: str) -> Rule:
    """A reading rises once the training loss is low."""
    return lambda run: _passes(run, reading, 3.0) & run.learned


def _passes(run: Seen, reading: str, z: float) -> np.ndarray:
    margin = 0.03 if reading in _PREDICTIONS else 0.0
    found = run.rises.get(reading)
    return np.zeros(len(run.steps), bool) if found is None else found.passes(margin, z)


def verdicts(runs: Sequence[Seen], rule: Rule) -> list[Verdict]:
    """The first warning of a rule in each run."""
    at = [np.flatnonzero(rule(run)) for run in runs]
    return [
        Verdict(int(run.steps[rows[0]]) if len(rows) else None) for run, rows in zip(runs, at, strict=True)
    ]


def compared(runs: Sequence[Seen], rules: dict[str, Rule]) -> str:
    """A row a rule, the first one the base that the others are compared with, as a markdown table."""
    lines = [
        "| rule | recall | false alarms | true when it came | spared | more spared | more false |\n",
        "| --- | --- | --- | --- | --- | --- | --- |\n",
    ]
    base: tuple[np.ndarray, np.ndarray] | None = None
    for name, rule in rules.items():
        found = verdicts(runs, rule)
        both = list(zip(runs, found, strict=True))
        ill = [(run.truth, verdict) for run, verdict in both if run.truth.degraded]
        kinds = [kind_of(run.truth, verdict) for run, verdict in both if not run.truth.degraded]
        spared = np.array([truth.spared(verdict.warned) for truth, verdict in ill])
        false = np.array([kind == "false" for kind in kinds], dtype=float)
        base = (spared, false) if base is None else base
        cells = [
            name,
            share(sum(verdict.warned is not None for _, verdict in ill), len(ill)),
            share(int(false.sum()), len(kinds)),
            share(kinds.count("true then"), len(kinds)),
            mean(spared.tolist()),
            _difference(spared - base[0]),
            _difference(false - base[1]),
        ]
        lines.append(f"| {' | '.join(cells)} |\n")
    return "".join(lines)


def _difference(values: np.ndarray) -> str:
    low, high = bootstrap(values, lambda drawn: drawn.mean(1))
    return f"{values.mean():+.2f} [{low:+.2f}, {high:+.2f}]"


def learned_scores(runs: Sequence[Seen]) -> str:
    """How well learned scores tell, probe by probe, that a run has fallen by two points, as a markdown table.

    In nats a probe: cross-entropy on families left out of learning, less that of the linear score over the
    tests alone.
    """
    linear = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=500))
    forest = ExtraTreesClassifier(200, max_depth=6, min_samples_leaf=20, random_state=0)
    lines = ["| numbers | linear score, gain | forest, gain |\n", "| --- | --- | --- |\n"]
    for title, base in (("labels and predictions", _LABELS + _PREDICTIONS), ("predictions", _PREDICTIONS)):
        first = _costs(runs, base, linear)
        for name, readings in ((title, base), (f"{title}, and folding", base + FOLDING)):
            gains = [first - _costs(runs, readings, model) for model in (linear, forest)]
            lines.append(f"| {name} | {' | '.join(_difference(gain) for gain in gains)} |\n")
    return "".join(lines)


def _costs(runs: Sequence[Seen], readings: Sequence[str], model: Any) -> np.ndarray:
    """Mean cross-entropy of each run's probes, shape (runs,)."""
    inputs = [_numbers(run, readings) for run in runs]
    fallen = [np.array([run.truth.fallen(step) for step in run.steps]) for run in runs]
    costs = np.empty(len(runs))
    for family in tqdm(sorted({run.family for run in runs}), "families", disable=None, leave=False):
        others = [place for place, run in enumerate(runs) if run.family != family]
        model.fit(np.concatenate([inputs[i] for i in others]), np.concatenate([fallen[i] for i in others]))
        for place, run in enumerate(runs):
            if run.family == family:
                chance = np.clip(model.predict_proba(inputs[place])[:, 1], 1e-3, 1 - 1e-3)
                costs[place] = -np.log(np.where(fallen[place], chance, 1 - chance)).mean()
    return costs


def _numbers(run: Seen, readings: Sequence[str]) -> np.ndarray:
    columns = [run.learned.astype(float)]
    for name in readings:
        found = run.rises[name]
        columns += [np.nan_to_num(found.mean), np.nan_to_num(np.clip(found.z, -5, 10))]
    return np.stack(columns, axis=1)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.warnings.exploration", description=__doc__
    )
    parser.add_argument("--rounds", type=int, default=2, help="rounds of the grid, default 2")
    parser.add_argument("--folder", type=Path, default=Path("runs/warnings/runs"), help="of the runs")
    parser.add_argument("--part", choices=("development", "held apart"), default="development")
    arguments = parser.parse_args()
    specs = [s for s in grid(arguments.rounds) if s.part == arguments.part and s.data not in LOSS_ONLY]
    runs = [seen(run) for run in tqdm(read(arguments.folder, specs), "courses", disable=None)]
    degraded = sum(run.truth.degraded for run in runs)
    readings = FOLDING + (GAPS if arguments.part == "development" else ())
    print(f"{arguments.part}: {len(runs)} runs, {degraded} degraded\n")
    rules = {"labels alone": with_labels()}
    rules |= {f"and {name}": with_labels(name) for name in (*_PREDICTIONS, *readings)}
    print(compared(runs, rules))
    rules = {"predictions alone": without_labels()}
    rules |= {f"or {name}": without_labels(name) for name in ("churn", *readings)}
    rules |= {f"{name} alone": alone(name) for name in readings}
    print(compared(runs, rules))
    print(learned_scores(runs))


if __name__ == "__main__":
    main()
