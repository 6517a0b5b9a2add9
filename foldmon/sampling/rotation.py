"""Which pairs the next probe measures, and what all probes so far tell of the whole panel."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from foldmon.folding.data.pairs import Pairs
from foldmon.folding.results.estimate import PanelEstimate
from foldmon.folding.results.panel import Panel
from foldmon.folding.results.report import FoldingReport
from foldmon.folding.results.statistics import Floats, Ints, class_pair_means


class Rotation:
    """The panel of a monitor.

    Args:
        pairs: all of them, P.
        points: n, points a path.
        seed: of the order of the turns.
    """

    def __init__(self, pairs: Pairs, points: int, seed: int) -> None:
        self.pairs, self.points = len(pairs), points
        self._classes, self._class_count = pairs.classes, len(pairs.class_names)
        self._panel = Panel(len(pairs), pairs.classes, seed)
        self._chi: Floats = np.full(len(pairs), np.nan)

    def next(self, count: int) -> Ints | None:
        """Places of the pairs to measure, shape (count,); None for all of them."""
        return None if count >= self.pairs else np.sort(self._panel.next(count))

    def taken_in(self, report: FoldingReport, step: int) -> FoldingReport:
        """The report of a probe with the estimate for the whole panel, where it measured a share."""
        measured = np.arange(self.pairs) if report.measured is None else report.measured
        values, largest = _columns(report, self.points)
        found = self._panel.update(step, measured, values, largest)
        self._chi[measured] = report.chi_network
        if report.measured is None:
            return replace(report, step=step)
        layers, seen = len(report.layers), np.isfinite(self._chi)
        estimate = PanelEstimate(
            pairs=self.pairs,
            folding=found.mean[:layers],
            profile=found.mean[layers : 2 * layers],
            phi_interval=(float(found.lower[2 * layers - 1]), float(found.upper[2 * layers - 1])),
            latest=self._chi[seen],
            class_matrix=self._class_matrix(seen),
        )
        if report.decision is not None:
            means = float(found.mean[-2]), float(found.mean[-1])
            report = replace(report, decision=replace(report.decision, means=means))
        return replace(report, step=step, estimate=estimate)

    def _class_matrix(self, seen: npt.NDArray[np.bool_]) -> Floats | None:
        if self._classes is None:
            return None
        return class_pair_means(self._chi[seen], self._classes[seen], self._class_count)

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs to go on, as plain JSON values."""
        latest = [None if np.isnan(value) else float(value) for value in self._chi]
        return {"panel": self._panel.state_dict(), "latest": latest}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where :meth:`state_dict` was taken.

        Raises:
            ValueError: the state is that of a panel of another size.
        """
        self._panel.load_state_dict(state["panel"])
        self._chi = np.array([np.nan if value is None else value for value in state["latest"]])


def _columns(report: FoldingReport, points: int) -> tuple[Floats, Floats]:
    """Of each measured pair what is estimated, shape (m, K), and the largest value of each, shape (K,)."""
    columns: list[npt.NDArray[Any]] = [report.chi, report.chi_cumulative]
    largest = [1.0] * (2 * len(report.layers))
    if report.decision is not None:
        columns += [report.decision.changes[:, None], report.decision.elsewhere[:, None]]
        largest += [points - 1.0, 1.0]
    return np.concatenate(columns, axis=1, dtype=np.float64), np.array(largest)
