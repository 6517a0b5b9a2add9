"""Two small plots: what each detector reaches, and when the warning comes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np

from tests.benchmarks.warnings.detectors import Candidate
from tests.benchmarks.warnings.features import Run

matplotlib.use("Agg")
from matplotlib import pyplot as plt


def draw(candidates: Sequence[Candidate], runs: Sequence[Run], folder: Path) -> None:
    """Write recall.png and lead.png."""
    _recall(candidates, runs, folder / "recall.png")
    _lead(candidates[0], runs, folder / "lead.png")


def _recall(candidates: Sequence[Candidate], runs: Sequence[Run], path: Path) -> None:
    figure, axes = plt.subplots(figsize=(7, 4.2), dpi=80)
    places = np.arange(len(candidates))[::-1]
    for kind, shift, colour in (("clear", 0.2, "tab:blue"), ("healthy", -0.2, "tab:red")):
        group = [run for run in runs if run.outcome.kind == kind]
        shares = [np.mean([c.warns_at(run) is not None for run in group]) for c in candidates]
        label = "clearly degraded runs warned of" if kind == "clear" else "healthy runs warned of"
        axes.barh(places + shift, shares, height=0.38, color=colour, label=label)
    axes.axvline(0.9, color="tab:blue", linewidth=0.8, linestyle=":")
    axes.axvline(0.05, color="tab:red", linewidth=0.8, linestyle=":")
    axes.set_yticks(places, [candidate.name for candidate in candidates], fontsize=8)
    axes.set(xlim=(0, 1), xlabel="share of the held-apart runs (dotted: the aims)")
    figure.legend(loc="upper right", fontsize=7, ncols=2)
    figure.tight_layout(rect=(0, 0, 1, 0.94))
    figure.savefig(path)
    plt.close(figure)


def _lead(candidate: Candidate, runs: Sequence[Run], path: Path) -> None:
    figure, axes = plt.subplots(figsize=(7, 2.8), dpi=80)
    caught = [
        (run, warned)
        for run in runs
        if run.outcome.onset is not None and (warned := candidate.warns_at(run)) is not None
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
