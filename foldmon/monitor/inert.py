"""The monitor that does nothing, for ``FOLDMON_DISABLED=1``."""

from __future__ import annotations

import math
import os
from collections import deque
from typing import TYPE_CHECKING, Any, SupportsFloat

import numpy as np

from foldmon.config.options import Config
from foldmon.folding.results.coverage import Coverage
from foldmon.folding.results.report import FoldingReport
from foldmon.monitor.protocol import Monitor
from foldmon.warning.detector import FoldingWarning

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_OFF = "foldmon is disabled; nothing is measured"


class InertMonitor(Monitor):
    """No hook, no thread, no file, no look at the model or the data: all it says is empty.

    Its probe's report has one path and one layer, whose folding is NaN; its plot raises ValueError.

    Example:
        >>> import math
        >>> with InertMonitor() as monitor:
        ...     monitor.step(), monitor.log(loss=0.5), math.isnan(monitor.probe().phi)
        (None, None, True)
    """

    config = Config(disabled=True)
    report = None
    skipped, steps, overhead = 0, 0, 0.0
    closed, should_stop, best_step = True, False, None
    journal_path = os.devnull
    coverage = Coverage({}, {}, {}, (_OFF,))

    def __init__(self) -> None:
        self.history = deque(maxlen=0)

    @property
    def warnings(self) -> list[FoldingWarning]:
        return []

    def step(self, number: int | None = None) -> None: ...
    def log(self, **values: SupportsFloat) -> None: ...
    def close(self, timeout: float = 30.0, *, last: float = math.inf) -> None: ...
    def load_state_dict(self, state: dict[str, Any]) -> None: ...
    def abandon(self) -> None: ...

    def state_dict(self) -> dict[str, Any]:
        return {}

    def flush(self, timeout: float = 30.0) -> bool:
        return True

    def summary(self) -> str:
        return _OFF

    _repr_html_ = summary

    def plot(self) -> Figure:
        raise ValueError(_OFF)

    def probe(self) -> FoldingReport:
        unknown: Any = np.full((1, 1), np.nan)
        endless: Any = np.full((1, 1), np.inf)
        return FoldingReport(
            layers=("disabled",), units=(0,), r1=unknown, r2=endless, r1_cumulative=unknown,
            method="sampled", exact=False, evaluations=0, seconds=0.0, nonfinite=np.zeros(1, np.int64),
            dead=unknown[0], saturated=unknown[0], coverage=self.coverage, notes=(_OFF,),
        )  # fmt: skip
