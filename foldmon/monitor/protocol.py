"""What a monitor offers, whether it measures or is switched off."""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Any, Protocol, SupportsFloat, runtime_checkable

from foldmon.config.options import Config
from foldmon.folding.results.coverage import Coverage
from foldmon.folding.results.report import FoldingReport
from foldmon.warning.detector import FoldingWarning

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@runtime_checkable
class Monitor(Protocol):
    """Watches one model; made by :func:`foldmon.watch`.

    Everything it does in the training thread is caught: an error of its own is logged once and never
    reaches the training loop. A context manager: leaving the block closes it. Where ``FOLDMON_DISABLED=1``
    switches foldmon off, it has all that is described here and does nothing.

    Attributes:
        config: the options that hold.
        report: the latest FoldingReport, None before the first probe ends.
        history: the latest 1000 reports, oldest first; the journal holds all.
        skipped: number of probes that were due while another one ran.
    """

    config: Config
    report: FoldingReport | None
    history: deque[FoldingReport]
    skipped: int

    # What the user reads

    @property
    def coverage(self) -> Coverage:
        """Which activation layers the latest probe measured, and which were seen but not understood."""

    @property
    def steps(self) -> int:
        """Training steps counted so far."""

    @property
    def closed(self) -> bool:
        """Whether the monitor has been closed."""

    @property
    def warnings(self) -> list[FoldingWarning]:
        """The warnings so far, oldest first; each has ``step``, ``severity``, ``reasons`` and ``best_step``.

        The first of the reasons is for people who train: what happened, since when and how sure that is.
        """

    @property
    def should_stop(self) -> bool:
        """Whether a warning has reached severity 2: a flag for the loop, which foldmon never acts on."""

    @property
    def best_step(self) -> int | None:
        """The step with the best held-out accuracy, or loss where there is none; None before it is known.

        It is a probe's step and moves on with every better one: whoever keeps the weights whenever it has
        moved has about the best of the run (``examples/early_stopping.py``).
        """

    @property
    def overhead(self) -> float:
        """Share of the time since the first step that probes cost, the standstill of training included.

        In a short run it lies above ``budget``: beyond that ``allowance`` seconds are free.
        """

    @property
    def journal_path(self) -> str:
        """Where the journal is."""

    def plot(self) -> Figure:
        """The run so far as a matplotlib figure: ``monitor.plot().savefig("folding.png")``.

        Raises:
            ImportError: matplotlib is missing.
            ValueError: no probe has ended yet.
        """

    def summary(self) -> str:
        """The latest measurement and the monitor's cost as a table."""

    # What the user tells

    def step(self, number: int | None = None) -> None:
        """Count one training step by hand, for loops without a torch optimizer.

        From the first call on, steps are counted by these calls only.

        Args:
            number: of the step that has ended, where the loop keeps its own count; None adds one. The
                number that is reached already does nothing.
        """

    def log(self, **values: SupportsFloat) -> None:
        """Put numbers of your own (``loss=...``, ``val_loss=...``) into the next probe's record.

        The record gets the latest value of each name, and of ``loss`` the mean since the last probe: log
        the training loss at every step, as the tensor that it is. Tensors are kept detached, and read
        where the probe runs: training waits for no device. The warning reads ``loss`` and ``val_loss``.

        Raises:
            TypeError: a value that is no single number.
        """

    def probe(self) -> FoldingReport:
        """Measure now, in this thread, whatever the timetable says; the report is exported too.

        Raises:
            RuntimeError: the monitor is closed.
            Exception: whatever the model raises.
        """

    def flush(self, timeout: float = 30.0) -> bool:
        """Wait until what was measured has reached every backend; False where it has not in time."""

    def close(self, timeout: float = 30.0, *, last: float = math.inf) -> None:
        """Measure the end of the run, deliver what is left and stop; a second call does nothing.

        Where an exception leaves a ``with`` block, or ends the process, nothing more is measured.

        Args:
            timeout: seconds to wait for a probe under way, and again for the backends.
            last: most seconds for a last measurement of all pairs, which is not charged to the budget; 0
                leaves it out.
        """

    def __enter__(self) -> Monitor:
        return self

    def __exit__(self, kind: Any, *exception: Any) -> None:
        self.close(last=math.inf if kind is None else 0.0)

    # Checkpoints

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs to go on: plain values."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where :meth:`state_dict` was taken: step numbers continue, at the next training step.

        What was measured at attach is taken back: it would stand at step 0 of a run that is beyond it.

        Raises:
            KeyError: the state is of something else.
        """

    def abandon(self) -> None:
        """In a forked child: forget the threads and their locks, which belong to the parent."""
