"""Two small plots: what each detector reaches, and when the warning comes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np

from tests.benchmarks.warnings.detectors import Verdicts
from tests.benchmarks.warnings.features import Run

matplotlib.use("Agg")
from matplotlib import pyplot as plt


def draw(verdicts: Sequence[Verdicts], runs: Sequence[Run], folder: Path) -> None:
    """Write recall.png and lead.png."""
    _recall(verdicts, runs, folder / "recall.png")
    _lead(verdicts[0], runs, folder / "lead.png")


def _recall(verdicts: Sequence[Verdicts], runs: Sequence[Run], path: Path) -> None:
    figure, axes = plt.subplots(figsize=(7, 4.2), dpi=80)
    places = np.arange(len(verdicts))[::-1]
    for kind, shift, colour in (("clear", 0.2, "tab:blue"), ("healthy", -0.2, "tab:red")):
        members = [place for place, run in enumerate(runs) if run.outcome.kind == kind]
        shares = [np.mean([verdict.warned[i] is not None for i in members]) for verdict in verdicts]
        label = "clearly degraded runs warned of" if kind == "clear" else "healthy runs warned of"
        axes.barh(places + shift, shares, height=0.38, color=colour, label=label)
    axes.axvline(0.9, color="tab:blue", linewidth=0.8, linestyle=":")
    axes.axvline(0.05, color="tab:red", linewidth=0.8, linestyle=":")
    axes.set_yticks(places, [verdict.name for verdict in verdicts], fontsize=8)
    axes.set(xlim=(0, 1), xlabel="share of runs (dotted: the aims)")
    figure.legend(loc="upper right", fontsize=7, ncols=2)
    figure.tight_layout(rect=(0, 0, 1, 0.94))
    figure.savefig(path)
    plt.close(figure)


def _lead(verdict: Verdicts, runs: Sequence[Run], path: Path) -> None:
    figure, axes = plt.subplots(figsize=(7, 2.8), dpi=80)
    caught = [
        (run, warned)
        for run, warned in zip(runs, verdict.warned, strict=True)
        if run.outcome.onset is not None and warned is not None
    ]
    for patience, colour in ((5, "tab:orange"), (10, "tab:green")):
        leads = [
            (stop - warned) / run.probes
            for run, warned in caught
            if (stop := run.outcome.stops[patience]) is not None
        ]
        axes.hist(
            leads, np.linspace(-1, 1, 41), histtype="step", color=colour, label=f"over patience {patience}"
        )
    leads = [
        (run.outcome.onset - warned) / run.probes for run, warned in caught if run.outcome.onset is not None
    ]
    axes.hist(leads, np.linspace(-1, 1, 41), histtype="step", color="tab:blue", label="over the onset")
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set(xlabel="lead of the warning, in lengths of the run (right: earlier)", ylabel="degraded runs")
    axes.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path)
    plt.close(figure)
