"""What a detector is worth: how often it warns, rightly and wrongly, and what damage that spares."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tests.benchmarks.warnings.detectors import Verdict
from tests.benchmarks.warnings.truth import Truth

_RESAMPLES = 2000


@dataclass(frozen=True, eq=False)
class Judged:
    """A run, its truth and all verdicts on it, by detector."""

    spec: dict[str, Any]
    truth: Truth
    verdicts: dict[str, Verdict]


def summary(runs: Sequence[Judged], needs: dict[str, str]) -> str:
    """A row a detector, as a markdown table."""
    head = (
        "| detector | needs besides | recall | false alarms | true when it came | of the loss alone | "
        "spared by stopping | by going back to its best step | overconfidence said, confirmed |\n"
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |\n"
    )
    return head + "".join(f"| {' | '.join([name, needs[name], *_row(runs, name)])} |\n" for name in needs)


def _row(runs: Sequence[Judged], name: str) -> list[str]:
    ill = [(run.truth, run.verdicts[name]) for run in runs if run.truth.degraded]
    sound = [(run.truth, run.verdicts[name]) for run in runs if not run.truth.degraded]
    kinds = [kind_of(truth, verdict) for truth, verdict in sound]
    back = [v.best if v.best is not None else v.warned for _, v in ill]
    unsure = [run.truth.risen(step) for run in runs if (step := run.verdicts[name].unsure) is not None]
    return [
        share(sum(verdict.warned is not None for _, verdict in ill), len(ill)),
        *(share(kinds.count(kind), len(kinds)) for kind in ("false", "true then", "loss only")),
        mean([truth.spared(verdict.warned) for truth, verdict in ill]),
        mean([truth.spared(step) for (truth, _), step in zip(ill, back, strict=True)]),
        f"{sum(unsure)} of {len(unsure)}" if unsure else "",
    ]


def kind_of(truth: Truth, verdict: Verdict) -> str:
    """What a warning in a run that did not degrade was.

    "true then" where the whole validation set confirms a fall at that step, "loss only" where it confirms a
    risen loss and nothing more, else "false"; "" for no warning.
    """
    if verdict.warned is None:
        return ""
    if truth.fallen(verdict.warned):
        return "true then"
    return "loss only" if truth.accuracy and truth.risen(verdict.warned) else "false"


def share(hits: int, of: int) -> str:
    """Percentage, its 95% Wilson interval, and the count."""
    if not of:
        return "none"
    low, high = wilson(hits, of)
    return f"{100 * hits / of:.0f}% [{100 * low:.0f}, {100 * high:.0f}] ({hits} of {of})"


def wilson(hits: int, of: int, z: float = 1.96) -> tuple[float, float]:
    """The score interval of a share (Wilson 1927)."""
    middle = (hits + z * z / 2) / (of + z * z)
    half = z / (of + z * z) * math.sqrt(hits * (of - hits) / of + z * z / 4)
    return max(0.0, middle - half), min(1.0, middle + half)


def mean(values: Sequence[float]) -> str:
    """Mean and its 95% bootstrap interval over runs."""
    if not values:
        return "none"
    found = np.asarray(values, dtype=np.float64)
    low, high = bootstrap(found, lambda drawn: drawn.mean(1))
    return f"{found.mean():.2f} [{low:.2f}, {high:.2f}]"


def bootstrap(values: np.ndarray, statistic: Callable[[np.ndarray], np.ndarray]) -> tuple[float, float]:
    """95% interval over resamples of the values' rows."""
    rows = np.random.default_rng(0).integers(len(values), size=(_RESAMPLES, len(values)))
    low, high = np.quantile(statistic(values[rows]), (0.025, 0.975))
    return float(low), float(high)


def by_group(runs: Sequence[Judged], name: str, field: str) -> str:
    """Warned runs of each value of a field of the specification, as a markdown table."""
    lines = [
        f"| {field} | degraded: warned of | spared | not degraded: false alarms |\n",
        "| --- | --- | --- | --- |\n",
    ]
    for value in sorted({run.spec[field] for run in runs}):
        group = [run for run in runs if run.spec[field] == value]
        ill = [run for run in group if run.truth.degraded]
        sound = [run for run in group if not run.truth.degraded]
        warned = sum(run.verdicts[name].warned is not None for run in ill)
        spared = f"{np.mean([run.truth.spared(run.verdicts[name].warned) for run in ill]):.2f}" if ill else ""
        false = sum(kind_of(run.truth, run.verdicts[name]) == "false" for run in sound)
        lines.append(
            f"| {value} | {f'{warned} of {len(ill)}' if ill else ''} | {spared} | "
            f"{f'{false} of {len(sound)}' if sound else ''} |\n"
        )
    return "".join(lines)
