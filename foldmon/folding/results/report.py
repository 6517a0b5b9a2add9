"""The report of one measurement."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from foldmon.folding.results.coverage import Coverage
from foldmon.folding.results.decision import DecisionFolding
from foldmon.folding.results.distances import Distances
from foldmon.folding.results.estimate import PanelEstimate
from foldmon.folding.results.nested import Nested
from foldmon.folding.results.score import HeldOutScore
from foldmon.folding.results.statistics import Floats, Ints, bootstrap_interval, class_pair_means


@dataclass(frozen=True, eq=False)
class FoldingReport(Distances):
    """Folding of P paths in L activation layers, with all distances in numbers of units.

    Of a monitor's probe the paths may be a share of its panel: arrays are then those of the measured pairs,
    while ``phi``, its interval, ``folding``, the profile and decision folding's means are composite estimates
    for the whole panel, and the other statistics are of the latest value of every pair.

    Attributes:
        layers: site names in order of execution, length L.
        units: number of units of each, length L.
        r1, r2: shape (P, L), largest distance from the start and distance walked, per layer: whole numbers,
            or estimates of ``method="auto"`` and of probes at fewer points (the notes say so).
        r1_cumulative: shape (P, L), r1 of the joined units of layers 1..l.
        method: "sampled", "exact" or "auto".
        exact: whether r1 and r2 are those of the continuous path, certified.
        evaluations: model evaluations (inputs passed forward) that were spent.
        seconds: wall time of the measurement.
        step: training step, None outside training.
        decision: DecisionFolding, None where the model's output gives no class.
        classes: shape (P, 2), class index of each end, None without labels.
        class_names: the classes.
        nonfinite: shape (L,), number of NaN or infinite pre-activations met.
        dead: shape (L,), share of units whose symbol was the lowest at every point; NaN for a layer that met
            NaN or infinite values, which would read as dead units or hide them.
        saturated: shape (L,), share of units whose symbol was the highest at every point; NaN likewise.
        coverage: what of the model was measured; it names the layers that met NaN or infinite values.
        notes: what else to know of the numbers, in words.
        measured: shape (P,), places of these pairs in the monitor's panel; None where they are all of it.
        estimate: for the whole panel; None where all of it was measured.
        held_out: HeldOutScore of a monitor's probe, None where it predicted no held-out inputs.
        nested: what was counted where r1 and r2 are extrapolated from fewer points; None where they are not.
    """

    layers: tuple[str, ...]
    units: tuple[int, ...]
    method: str
    exact: bool
    evaluations: int
    seconds: float
    nonfinite: Ints
    dead: Floats
    saturated: Floats
    coverage: Coverage
    decision: DecisionFolding | None = None
    classes: Ints | None = None
    class_names: tuple[str, ...] = ()
    step: int | None = None
    notes: tuple[str, ...] = ()
    measured: Ints | None = None
    estimate: PanelEstimate | None = None
    held_out: HeldOutScore | None = None
    nested: Nested | None = None

    def __post_init__(self) -> None:
        blurred = self.nonfinite > 0
        for name in ("dead", "saturated"):
            object.__setattr__(self, name, np.where(blurred, np.nan, getattr(self, name)))
        names = (site for site, hit in zip(self.layers, blurred, strict=True) if hit)
        notes = (f"{site} met NaN or infinite values, whose symbols mean nothing" for site in names)
        object.__setattr__(self, "coverage", self.coverage.with_notes(*notes))

    @property
    def phi(self) -> float:
        """Mean network folding over the paths."""
        return float(self.chi_network.mean()) if self.estimate is None else float(self.estimate.profile[-1])

    @cached_property
    def phi_interval(self) -> tuple[float, float]:
        """95% interval of phi: of the bootstrap over the paths, or of the composite estimate."""
        return bootstrap_interval(self.chi_network) if self.estimate is None else self.estimate.phi_interval

    @property
    def chi_latest(self) -> Floats:
        """Network folding of every pair of the panel, as last measured: ``chi_network`` where all were."""
        return self.chi_network if self.estimate is None else self.estimate.latest

    @property
    def phi_median_nonzero(self) -> float:
        """Median network folding of the paths that fold; 0 where none does."""
        nonzero = self.chi_latest[self.chi_latest > 0]
        return float(np.median(nonzero)) if len(nonzero) else 0.0

    @property
    def nonzero_fraction(self) -> float:
        """Share of the paths that fold."""
        return float((self.chi_latest > 0).mean())

    @property
    def phi_max(self) -> float:
        """Largest network folding of a path."""
        return float(self.chi_latest.max())

    @property
    def profile(self) -> Floats:
        """Shape (L,), the depth profile: mean cumulative folding by layer."""
        means: Floats = self.chi_cumulative.mean(0) if self.estimate is None else self.estimate.profile
        return means

    @property
    def folding(self) -> Floats:
        """Shape (L,), mean folding of each layer."""
        means: Floats = self.chi.mean(0) if self.estimate is None else self.estimate.folding
        return means

    @property
    def class_matrix(self) -> Floats | None:
        """Shape (C, C), mean network folding by pair of classes, NaN where no path; None unlabelled."""
        if self.classes is None:
            return None
        if self.estimate is not None:
            return self.estimate.class_matrix
        return class_pair_means(self.chi_network, self.classes, len(self.class_names))

    def to_dict(self) -> dict[str, Any]:
        """Everything a journal keeps, as plain JSON values (NaN stays a float).

        The distances of every measured path in every layer are among it: all statistics can be computed
        again from them, and the composite estimates from those of all probes.
        """
        matrix = self.class_matrix
        return {
            "step": self.step,
            "method": self.method,
            "exact": self.exact,
            "phi": self.phi,
            "phi_interval": list(self.phi_interval),
            "phi_median_nonzero": self.phi_median_nonzero,
            "nonzero_fraction": self.nonzero_fraction,
            "phi_max": self.phi_max,
            "layers": list(self.layers),
            "units": list(self.units),
            "folding": self.folding.tolist(),
            "cumulative": self.profile.tolist(),
            "r1": self.r1.mean(0).tolist(),
            "r2": self.r2.mean(0).tolist(),
            "network_r1": self.r1_cumulative[:, -1].tolist(),
            "network_r2": self.r2_cumulative[:, -1].tolist(),
            "dead": self.dead.tolist(),
            "saturated": self.saturated.tolist(),
            "nonfinite": self.nonfinite.tolist(),
            "decision": _decision_dict(self.decision),
            "classes": None if self.classes is None else self.classes.tolist(),
            "class_names": list(self.class_names),
            "class_matrix": None if matrix is None else matrix.tolist(),
            "evaluations": self.evaluations,
            "seconds": self.seconds,
            "notes": list(self.notes),
            "pairs": len(self.r1) if self.estimate is None else self.estimate.pairs,
            "measured": None if self.measured is None else self.measured.tolist(),
            "path_r1": self.r1.tolist(),
            "path_r2": self.r2.tolist(),
            "path_r1_cumulative": self.r1_cumulative.tolist(),
            "nested": None if self.nested is None else self.nested.to_dict(),
            "held_out": None if self.held_out is None else self.held_out.to_dict(),
        }

    @property
    def _counted(self) -> str:
        own = f"{len(self.r1)} paths"
        return own if self.estimate is None else f"{own} of a panel of {self.estimate.pairs}"

    def __str__(self) -> str:
        low, high = self.phi_interval
        kind = "exact" if self.exact else self.method
        where = "" if self.step is None else f" at step {self.step}"
        return (
            f"phi {self.phi:.4f} [{low:.4f}, {high:.4f}]{where} over {self._counted} and "
            f"{len(self.layers)} layers ({kind}, {self.evaluations:,} evaluations, {self.seconds:.2f} s)"
        )


def _decision_dict(decision: DecisionFolding | None) -> dict[str, Any] | None:
    if decision is None:
        return None
    return {
        "changes": decision.mean_changes,
        "elsewhere": decision.mean_elsewhere,
        "path_changes": decision.changes.tolist(),
        "path_elsewhere": _short(decision.elsewhere),
        "ends": decision.ends.tolist(),
        "entropy": _short(decision.entropy),
        "leading": decision.leading.tolist(),
        "probabilities": _short(decision.probabilities),
        "of": decision.of,
    }


def _short(values: Floats) -> Any:
    """Four significant digits, as nested lists: probabilities near 0 are told apart, and lines stay short."""
    flat = [float(f"{value:.4g}") for value in values.reshape(-1).tolist()]
    return np.array(flat).reshape(values.shape).tolist()
