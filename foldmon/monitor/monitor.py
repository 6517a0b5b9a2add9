"""The monitor: steps come in, probes go out."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from torch import nn
from torch.optim import Optimizer

from foldmon.config.options import Config
from foldmon.exporters.base import Exporter
from foldmon.exporters.output import Output
from foldmon.folding.results.coverage import Coverage
from foldmon.folding.results.report import FoldingReport
from foldmon.journal.following import read_journal
from foldmon.journal.records import end_record, probe_record, start_record
from foldmon.journal.writing import JSONLExporter
from foldmon.monitor.first import FirstRecord
from foldmon.monitor.logged import Logged, as_number
from foldmon.monitor.summary import summary_table
from foldmon.sampling.guard import Guard
from foldmon.sampling.pace import pace_of
from foldmon.sampling.sampler import Sampler
from foldmon.sampling.steps import StepCounter
from foldmon.sampling.subject import IN_PLACE, Subject
from foldmon.sampling.team import TeamError
from foldmon.sampling.timetable import Timetable
from foldmon.warning.alarm import Alarm, OnWarning
from foldmon.warning.detector import FoldingWarning

if TYPE_CHECKING:
    from matplotlib.figure import Figure

logger = logging.getLogger("foldmon")

_HISTORY = 1000


class Monitor:
    """Watches one model; made by :func:`foldmon.watch`.

    Everything it does in the training thread is caught: an error of its own is logged once and never
    reaches the training loop. A context manager: leaving the block closes it.

    Attributes:
        report: the latest FoldingReport, None before the first probe ends.
        history: the latest 1000 reports, oldest first; the journal holds all.
        skipped: number of probes that were due while another one ran.
    """

    def __init__(
        self,
        model: nn.Module,
        subject: Subject,
        config: Config,
        journal: JSONLExporter,
        exporters: Sequence[Exporter],
        optimizer: Optimizer | None = None,
        step: int = 0,
        on_warning: OnWarning | None = None,
    ) -> None:
        self.config = config
        self.report: FoldingReport | None = None
        self.history: deque[FoldingReport] = deque(maxlen=_HISTORY)
        self.skipped = 0
        self._subject = subject
        self._step = step
        self._logged = Logged()
        self._alarm = Alarm(on_warning)
        self._timetable = Timetable(config.every, config.budget)
        self._sampler = Sampler()
        self._measuring = threading.Lock()
        self._guard = Guard(final=TeamError)
        self._closed = False
        self._pace = pace_of(subject, self._timetable, self._sampler, self._guard, self._probe)
        self._output = Output(journal, exporters)
        self._first = FirstRecord(self._output.write)
        self._output.write(start_record(type(model).__name__, subject.coverage, config.to_dict()))
        self._counter: StepCounter | None = StepCounter(model, self._advance, optimizer)
        if subject.reason is not None:
            logger.warning("foldmon: %s: %s", IN_PLACE, subject.reason)
        self._guard.run(lambda: self._begin_if_due(0))

    # What the user reads

    @property
    def coverage(self) -> Coverage:
        """Which activation layers the latest probe measured, and which were seen but not understood."""
        own = self._subject.coverage
        return own if self.report is None else self.report.coverage.with_notes(*own.notes)

    @property
    def steps(self) -> int:
        """Training steps counted so far."""
        return self._step

    @property
    def closed(self) -> bool:
        """Whether the monitor has been closed."""
        return self._closed

    @property
    def warnings(self) -> list[FoldingWarning]:
        """The warnings so far, oldest first; each has ``step``, ``severity`` and ``reasons``."""
        return list(self._alarm.warnings)

    @property
    def should_stop(self) -> bool:
        """Whether a warning has reached severity 2: a flag for the loop, which foldmon never acts on."""
        return self._alarm.should_stop

    @property
    def overhead(self) -> float:
        """Share of the time since the first step that probes cost: their wall time and the standstill."""
        return self._timetable.overhead(time.perf_counter())

    @property
    def journal_path(self) -> str:
        """Where the journal is."""
        return str(self._output.journal.path)

    def plot(self) -> Figure:
        """The run so far as a matplotlib figure: ``monitor.plot().savefig("folding.png")``.

        Raises:
            ImportError: matplotlib is missing.
            ValueError: no probe has ended yet.
        """
        from foldmon.views.plots import plot_history

        return plot_history(read_journal(self.journal_path))

    def _repr_html_(self) -> str:
        from foldmon.views.notebook import history_html

        return history_html(read_journal(self.journal_path))

    def summary(self) -> str:
        """The latest measurement and the monitor's cost as a table."""
        return summary_table(self.report, self.coverage, self._costs(), self._step, self.journal_path)

    # What the user tells

    def step(self, number: int | None = None) -> None:
        """Count one training step by hand, for loops without a torch optimizer.

        From the first call on, steps are counted by these calls only.

        Args:
            number: of the step that has ended, where the loop keeps its own count; None adds one. The
                number that is reached already does nothing.
        """
        if self._counter is not None:
            self._counter.close()
            self._counter = None
        if number is None:
            self._advance()
        elif number != self._step:
            self._step = number - 1
            self._advance()

    def log(self, **values: float) -> None:
        """Put numbers of your own (``loss=...``, ``val_loss=...``) into the next probe's record.

        The record gets the latest value of each name, and of ``loss`` the mean since the last probe: log
        the training loss at every step. The warning reads ``loss`` and ``val_loss``.

        Raises:
            TypeError: a value that is no single number.
        """
        self._logged.add({name: as_number(name, value) for name, value in values.items()})

    def probe(self) -> FoldingReport:
        """Measure now, in this thread, whatever the timetable says; the report is exported too.

        Raises:
            RuntimeError: the monitor is closed.
            Exception: whatever the model raises.
        """
        if self._closed:
            raise RuntimeError("the monitor is closed; call foldmon.watch again")
        self._sampler.wait()
        self._first.release()
        began = time.perf_counter()
        self._subject.snapshot()
        return self._probe(self._step, time.perf_counter() - began)

    def flush(self, timeout: float = 30.0) -> bool:
        """Wait until what was measured has reached every backend; False where it has not in time."""
        measured = self._sampler.wait(timeout)
        self._first.release()
        return self._output.flush(timeout) and measured

    def close(self, timeout: float = 30.0) -> None:
        """Finish the probe under way, deliver what is left and stop; a second call does nothing.

        Args:
            timeout: seconds to wait for a probe, and again for the backends.
        """
        if self._closed:
            return
        self._closed = True
        if self._counter is not None:
            self._counter.close()
        if self._sampler.close(timeout):
            self._subject.release()
        else:
            logger.warning("foldmon: the last probe did not end within %.0f s and is left out", timeout)
        self._alarm.tell()
        self._first.release()
        self._output.write(end_record(self._step, self._costs()))
        self._output.close(timeout)
        if self._subject.team is not None:
            self._subject.team.close()

    def __enter__(self) -> Monitor:
        return self

    def __exit__(self, *exception: Any) -> None:
        self.close()

    # Checkpoints

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs to go on: plain values."""
        return {
            "step": self._step,
            "skipped": self.skipped,
            "pairs": self._subject.pairs.fingerprint(),
            "alarm": self._alarm.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where :meth:`state_dict` was taken: step numbers continue, at the next training step.

        What was measured at attach is taken back: it would stand at step 0 of a run that is beyond it.

        Raises:
            KeyError: the state is of something else.
        """
        step, skipped, fingerprint = int(state["step"]), int(state["skipped"]), state["pairs"]
        self._sampler.wait()
        if self._first.take_back():
            self.report = None
            self.history.clear()
        self._step, self.skipped = step, skipped
        self._alarm.load_state_dict(state["alarm"])
        if fingerprint != self._subject.pairs.fingerprint():
            logger.warning(
                "foldmon: the resumed run draws other held-out pairs than the saved one; phi may jump. "
                "Pass the same data and seed to keep them"
            )

    # In the training thread

    def _advance(self, steps: int = 1) -> None:
        if self._closed:
            return
        self._guard.run(self._first.release)
        self._alarm.tell()
        self._step += steps
        self._guard.run(lambda: self._begin_if_due(steps))

    def _begin_if_due(self, taken: int) -> None:
        if self._step:
            self._timetable.start(time.perf_counter())
        self.skipped += self._pace.advance(self._step, taken)

    # In the sampler's thread (in the training thread where there is no copy)

    def _probe(self, step: int, stall: float) -> FoldingReport:
        began = time.perf_counter()
        with self._measuring:
            report = replace(self._subject.measure(), step=step)
            record = probe_record(report, self._logged.take())
            record["warning"] = self._alarm.look(record)
            seconds = time.perf_counter() - began
            self._timetable.book(stall + seconds, time.perf_counter())
            record["monitor"] = self._costs() | {"probe_seconds": seconds, "stall_seconds": stall}
            self.report = report
            self.history.append(report)
            self._first.write(record)
        return report

    def _costs(self) -> dict[str, float]:
        return {
            "overhead": self.overhead,
            "skipped": self.skipped,
            "interval": self._timetable.interval(),
        }

    def abandon(self) -> None:
        """In a forked child: forget the threads and their locks, which belong to the parent."""
        self._closed = True
        self._sampler = Sampler()
        self._output.abandon()
        with contextlib.suppress(Exception):
            if self._counter is not None:
                self._counter.close()
