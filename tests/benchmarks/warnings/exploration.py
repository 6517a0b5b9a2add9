"""What folding adds: ``python -m tests.benchmarks.warnings.exploration``, on the development part alone.

A linear score over paired, cross-fitted rises learns to tell, probe by probe, what the whole validation set
says then: that the run has fallen by two points. It is judged on families of data that it has not seen. Each
reading of folding is added to the tests of the held-out inputs in turn, and compared run by run. Beside them
a forest over the same numbers.
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

from tests.benchmarks.warnings.courses import Rise, courses, rise
from tests.benchmarks.warnings.grid import LOSS_ONLY, grid
from tests.benchmarks.warnings.store import read
from tests.benchmarks.warnings.table import bootstrap, mean, share
from tests.benchmarks.warnings.truth import Truth, truth_of

LABELS, PREDICTIONS, LOGGED = ("error", "loss"), ("turned", "churn"), ("logged",)
FOLDING = ("phi", "changes", "elsewhere", "crossings", "depth")
GAPS = ("gap phi", "gap changes", "gap elsewhere", "gap depth")
_FALSE_ALARMS = 0.05

Scores = list[np.ndarray]
Learner = Callable[[], Any]


def linear() -> Any:
    """Few numbers and few runs: a strong prior."""
    return make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=500))


def forest() -> Any:
    """A forest of the kind that the warning shipped before."""
    return ExtraTreesClassifier(200, max_depth=6, min_samples_leaf=20, random_state=0, n_jobs=1)


@dataclass(frozen=True, eq=False)
class Seen:
    """A run as the exploration sees it: numbers of each reading, shape (T, K), and whether it has fallen."""

    family: str
    truth: Truth
    steps: np.ndarray
    numbers: dict[str, np.ndarray]
    fallen: np.ndarray


def seen(run: dict[str, Any]) -> Seen:
    """The numbers of a stored run at its probes from the first whole panel on."""
    found = courses(run)
    steps = found["phi"].steps
    numbers = {name: _numbers(rise(course)) for name, course in found.items()}
    numbers["logged"] = _logged(run["records"])
    numbers |= _gaps(run, steps)
    truth = truth_of(run, loss_only=False)
    return Seen(run["spec"]["data"], truth, steps, numbers, np.array([truth.fallen(step) for step in steps]))


def _numbers(found: Rise) -> np.ndarray:
    """Rise, z, and the least of the last two z; 0 where not known yet. Levels differ from task to task."""
    z = np.clip(found.z, -5, 10)
    held = np.minimum(z, np.concatenate([z[:1], z[:-1]]))
    return np.nan_to_num(np.stack([found.mean, z, held], axis=1))


def _logged(records: Sequence[dict[str, Any]]) -> np.ndarray:
    """The log of the training loss, against its first value and against the mean of the first half so far."""
    values = np.log(np.array([record["logged"].get("loss", np.nan) for record in records]) + 1e-3)
    known = np.flatnonzero(np.isfinite(values))
    values = np.interp(np.arange(len(values)), known, values[known])
    earlier = np.array([values[: i // 2 + 1].mean() for i in range(len(values))])
    return np.stack([values - values[0], values - earlier], axis=1)


def _gaps(run: dict[str, Any], steps: np.ndarray) -> dict[str, np.ndarray]:
    """Folding of held-out less that of training pairs: at the latest look, and above its lowest so far."""
    looks = np.searchsorted([look["step"] for look in run["paths"]], steps, side="right") - 1
    columns = {}
    for name in GAPS:
        gaps = np.array([_gap(look, name.removeprefix("gap ")) for look in run["paths"]])
        columns[name] = np.stack([gaps, gaps - np.minimum.accumulate(gaps)], axis=1)[looks]
    return columns


def _gap(look: dict[str, Any], name: str) -> float:
    def of(pairs: dict[str, Any]) -> float:
        if name == "depth":
            cumulative = np.array(pairs["cumulative"])
            return float((cumulative[:, -1] - cumulative[:, 0]).mean())
        return float(np.mean(pairs[name]))

    return of(look["held_out"]) - of(look["training"])


def scores(runs: Sequence[Seen], readings: Sequence[str], learner: Learner = linear) -> Scores:
    """The score of each probe, learned from the other families: log odds that the run has fallen."""
    found: Scores = [np.empty(0)] * len(runs)
    for family in sorted({run.family for run in runs}):
        others = [run for run in runs if run.family != family]
        x = np.concatenate([_input(run, readings) for run in others])
        y = np.concatenate([run.fallen for run in others])
        model = learner().fit(x, y)
        for place, run in enumerate(runs):
            if run.family == family:
                chance = np.clip(model.predict_proba(_input(run, readings))[:, 1], 1e-3, 1 - 1e-3)
                found[place] = np.log(chance / (1 - chance))
    return found


def _input(run: Seen, readings: Sequence[str]) -> np.ndarray:
    return np.concatenate([run.numbers[name] for name in readings], axis=1)


def costs(runs: Sequence[Seen], found: Scores) -> np.ndarray:
    """Mean cross-entropy of each run's probes, nats, shape (runs,)."""
    return np.array(
        [
            np.logaddexp(0, np.where(run.fallen, -score, score)).mean()
            for run, score in zip(runs, found, strict=True)
        ]
    )


def warned(runs: Sequence[Seen], found: Scores) -> list[float | None]:
    """Steps of the warnings at the lowest mark that no more than 5% of the sound runs pass falsely.

    Two probes in a row are to pass it. The mark is set on all runs: what is compared are readings, not marks.
    """
    held = [np.minimum(score[1:], score[:-1]) for score in found]

    def first(place: int, mark: float) -> float | None:
        passed = np.flatnonzero(held[place] > mark)
        return float(runs[place].steps[passed[0] + 1]) if len(passed) else None

    sound = [place for place, run in enumerate(runs) if not run.truth.degraded]
    for mark in np.unique(np.concatenate(held)):
        at = [first(place, mark) for place in sound]
        false = [
            step is not None and not runs[place].truth.fallen(step)
            for place, step in zip(sound, at, strict=True)
        ]
        if sum(false) <= _FALSE_ALARMS * len(sound):
            return [first(place, mark) for place in range(len(runs))]
    return [None] * len(runs)


def compared(runs: Sequence[Seen], base: tuple[str, ...]) -> str:
    """A row for the base, for each reading added to it, and for a forest, as a markdown table."""
    rows: list[tuple[str, Sequence[str], Learner]] = [("these tests alone", base, linear)]
    rows += [(f"and {name}", (*base, name), linear) for name in (*FOLDING, *GAPS)]
    rows += [
        ("and all of folding", (*base, *FOLDING), linear),
        ("and all, gaps too", (*base, *FOLDING, *GAPS), linear),
        ("a forest over these tests", base, forest),
        ("a forest, and all of folding", (*base, *FOLDING), forest),
        ("folding alone", FOLDING, linear),
    ]
    lines = [
        "| readings | gain, nats a probe | recall at 5% false alarms | spared | more spared |\n",
        "| --- | --- | --- | --- | --- |\n",
    ]
    ill = [place for place, run in enumerate(runs) if run.truth.degraded]
    first: tuple[np.ndarray, np.ndarray] | None = None
    for title, readings, learner in tqdm(rows, " + ".join(base), disable=None):
        found = scores(runs, readings, learner)
        cost, at = costs(runs, found), warned(runs, found)
        spared = np.array([runs[place].truth.spared(at[place]) for place in ill])
        first = (cost, spared) if first is None else first
        hits = share(sum(at[place] is not None for place in ill), len(ill))
        more = _difference(first[0] - cost), _difference(spared - first[1])
        lines.append(f"| {title} | {more[0]} | {hits} | {mean(spared.tolist())} | {more[1]} |\n")
    return "".join(lines)


def _difference(values: np.ndarray) -> str:
    low, high = bootstrap(values, lambda drawn: drawn.mean(1))
    return f"{values.mean():+.3f} [{low:+.3f}, {high:+.3f}]"


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.warnings.exploration", description=__doc__
    )
    parser.add_argument("--rounds", type=int, default=2, help="rounds of the grid, default 2")
    parser.add_argument("--folder", type=Path, default=Path("runs/warnings/runs"), help="of the runs")
    arguments = parser.parse_args()
    specs = [
        spec for spec in grid(arguments.rounds) if spec.part == "development" and spec.data not in LOSS_ONLY
    ]
    runs = [seen(run) for run in tqdm(read(arguments.folder, specs), "courses", disable=None)]
    degraded = sum(run.truth.degraded for run in runs)
    print(f"{len(runs)} runs, {degraded} degraded\n")
    for title, base in (
        ("With labels and training loss", (*LABELS, *PREDICTIONS, *LOGGED)),
        ("Without labels, with training loss", (*PREDICTIONS, *LOGGED)),
        ("Without labels, nothing logged", PREDICTIONS),
    ):
        print(f"### {title}\n\n{compared(runs, base)}")


if __name__ == "__main__":
    main()
