"""Tables and a plot of the paired differences."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
from contenders import COMBINED, CONTENDERS

Rows = list[dict[str, Any]]
Floats = npt.NDArray[np.float64]
COMPARED = (
    ("folding", "none"),
    ("folding", "weight_decay"),
    ("folding", "best_other"),
    (COMBINED, "best_other"),
)
POOLED = {"all settings": lambda name: True, "little data": lambda name: "noise" not in name}


def write_report(rows: Rows, folder: Path) -> None:
    """Write summary.md, summary.csv and differences.png into ``folder``."""
    settings = list(dict.fromkeys(row["setting"] for row in rows))
    differences = _differences(rows, settings)
    (folder / "summary.md").write_text(
        _scores_table(rows, settings, "accuracy", "Test accuracy, %, mean over seeds", 100)
        + _scores_table(rows, settings, "log_loss", "Test log-loss, mean over seeds", 1)
        + _scores_table(rows, settings, "phi", "Measured phi (33 points), %, mean over seeds", 100)
        + _differences_table(differences)
    )
    with (folder / "summary.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, differences[0].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(differences)
    _plot([d for d in differences if d["score"] == "accuracy"], folder / "differences.png")


def _scores(rows: Rows, setting: str, contender: str, score: str) -> Floats:
    if contender == "best_other":
        contender = next(row["best_other"] for row in rows if row["setting"] == setting)
    found = [row for row in rows if row["setting"] == setting and row["contender"] == contender]
    return np.array([row[score] for row in sorted(found, key=lambda row: row["seed"])])


def _differences(rows: Rows, settings: list[str]) -> Rows:
    found: Rows = []
    for score, factor in (("accuracy", 100.0), ("log_loss", 1.0)):
        for a, b in COMPARED:
            by_setting = {
                setting: factor * (_scores(rows, setting, a, score) - _scores(rows, setting, b, score))
                for setting in settings
            }
            for setting, values in by_setting.items():
                found.append(_difference(setting, score, a, b, values))
            for name, belongs in POOLED.items():
                pooled = [values for setting, values in by_setting.items() if belongs(setting)]
                if pooled:
                    # Seed by seed the mean over the settings: each setting weighs the same.
                    found.append(_difference(name, score, a, b, np.mean(pooled, axis=0)))
    return found


def _difference(setting: str, score: str, a: str, b: str, values: Floats) -> dict[str, Any]:
    resampled = np.random.default_rng(0).choice(values, size=(10_000, len(values))).mean(1)
    low, high = np.quantile(resampled, (0.025, 0.975))
    return {
        "setting": setting,
        "score": score,
        "contender": a,
        "against": b,
        "mean": round(float(values.mean()), 4),
        "lower": round(float(low), 4),
        "upper": round(float(high), 4),
        "seeds": len(values),
    }


def _scores_table(rows: Rows, settings: list[str], score: str, title: str, factor: float) -> str:
    names = CONTENDERS
    lines = [f"## {title}\n", "| setting | " + " | ".join(names) + " | best other |"]
    lines.append("| --- " * (len(names) + 2) + "|")
    for setting in settings:
        best = next(row["best_other"] for row in rows if row["setting"] == setting)
        means = [f"{factor * _scores(rows, setting, name, score).mean():.2f}" for name in names]
        lines.append(f"| {setting} | " + " | ".join(means) + f" | {best} |")
    return "\n".join(lines) + "\n\n"


def _differences_table(differences: Rows) -> str:
    lines = [
        "## Paired differences over seeds, with 95% bootstrap intervals\n",
        "Accuracy in percentage points (above 0: the first is better), log-loss in nats (below 0: better).\n",
        "| setting | compared | accuracy | log-loss |",
        "| --- | --- | --- | --- |",
    ]
    settings = dict.fromkeys(d["setting"] for d in differences)
    for setting in settings:
        for a, b in COMPARED:
            cells = [
                f"{d['mean']:+.2f} [{d['lower']:+.2f}, {d['upper']:+.2f}]"
                for d in differences
                if (d["setting"], d["contender"], d["against"]) == (setting, a, b)
            ]
            lines.append(f"| {setting} | {a} − {b} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _plot(differences: Rows, path: Path) -> None:
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    settings = list(dict.fromkeys(d["setting"] for d in differences))
    figure, axes = plt.subplots(
        1, len(COMPARED), figsize=(4 * len(COMPARED), 0.4 * len(settings) + 1.5), sharey=True, squeeze=False
    )
    for axis, (a, b) in zip(axes[0], COMPARED, strict=True):
        chosen = [d for d in differences if (d["contender"], d["against"]) == (a, b)]
        means = np.array([d["mean"] for d in chosen])
        reach = np.array([[d["mean"] - d["lower"], d["upper"] - d["mean"]] for d in chosen]).T
        axis.errorbar(means, range(len(chosen)), xerr=reach, fmt="o", capsize=3)
        axis.axvline(0, color="grey", linewidth=1)
        axis.set(title=f"{a} − {b}", xlabel="test accuracy, percentage points")
        axis.set_yticks(range(len(chosen)), [d["setting"] for d in chosen])
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    plt.close(figure)
