"""The monitor that does nothing, for ``FOLDMON_DISABLED=1``."""

from __future__ import annotations

import os
from collections import deque
from typing import TYPE_CHECKING, Any

import numpy as np

from foldmon.config.options import Config
from foldmon.folding.results.coverage import Coverage
from foldmon.folding.results.report import FoldingReport
from foldmon.monitor.monitor import Monitor
from foldmon.warning.detector import FoldingWarning

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_OFF = "foldmon is disabled; nothing is measured"


class InertMonitor(Monitor):
    """Has everything that :class:`foldmon.Monitor` has, and does nothing.

    No hook, no thread, no file, no look at the model or the data.

    Example:
        >>> import math
        >>> with InertMonitor() as monitor:
        ...     monitor.step(), monitor.log(loss=0.5), math.isnan(monitor.probe().phi)
        (None, None, True)
    """

    def __init__(self) -> None:
        self.config = Config(disabled=True)
        self.report = None
        self.history = deque(maxlen=0)
        self.skipped = 0

    @property
    def coverage(self) -> Coverage:
        """Empty."""
        return Coverage({}, {}, {}, (_OFF,))

    @property
    def steps(self) -> int:
        """Always 0: nothing is counted."""
        return 0

    @property
    def closed(self) -> bool:
        """Always True."""
        return True

    @property
    def overhead(self) -> float:
        """Always 0."""
        return 0.0

    @property
    def journal_path(self) -> str:
        """The null device: there is no journal."""
        return os.devnull

    @property
    def warnings(self) -> list[FoldingWarning]:
        """Always empty."""
        return []

    @property
    def should_stop(self) -> bool:
        """Always False."""
        return False

    def plot(self) -> Figure:
        """There is nothing to plot.

        Raises:
            ValueError: always.
        """
        raise ValueError(_OFF)

    def _repr_html_(self) -> str:
        return _OFF

    def summary(self) -> str:
        """A line that says so."""
        return _OFF

    def step(self, number: int | None = None) -> None:
        """Does nothing."""

    def log(self, **values: float) -> None:
        """Does nothing."""

    def probe(self) -> FoldingReport:
        """A report of one path and one layer, whose folding is NaN."""
        unknown: Any = np.full((1, 1), np.nan)
        endless: Any = np.full((1, 1), np.inf)
        return FoldingReport(
            layers=("disabled",), units=(0,), r1=unknown, r2=endless, r1_cumulative=unknown,
            method="sampled", exact=False, evaluations=0, seconds=0.0, nonfinite=np.zeros(1, np.int64),
            dead=unknown[0], saturated=unknown[0], coverage=self.coverage, notes=(_OFF,),
        )  # fmt: skip

    def flush(self, timeout: float = 30.0) -> bool:
        """Always True: there is nothing to wait for."""
        return True

    def close(self, timeout: float = 30.0) -> None:
        """Does nothing."""

    def state_dict(self) -> dict[str, Any]:
        """Empty."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Does nothing."""

    def abandon(self) -> None:
        """Does nothing."""
