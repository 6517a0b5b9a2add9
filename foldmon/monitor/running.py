"""The monitor at work: steps come in, probes go out."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from torch import nn
from torch.optim import Optimizer

from foldmon.config.options import Config
from foldmon.exporters.output import Output
from foldmon.folding.results.coverage import Coverage
from foldmon.folding.results.report import FoldingReport
from foldmon.journal.following import read_journal
from foldmon.journal.records import end_record, probe_record, start_record
from foldmon.journal.schema import ProbeCosts, RunCosts
from foldmon.monitor.first import FirstRecord
from foldmon.monitor.logged import Logged, as_number
from foldmon.monitor.protocol import Monitor
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


class RunningMonitor(Monitor):
    """Counts the steps of one model, measures where a probe is due and passes on what comes of it."""

    def __init__(
        self,
        model: nn.Module,
        subject: Subject,
        config: Config,
        output: Output,
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
        self._output = output
        self._first = FirstRecord(self._output.write)
        self._output.write(start_record(type(model).__name__, subject.coverage, config.to_dict()))
        self._counter: StepCounter | None = StepCounter(model, self._advance, optimizer)
        if subject.reason is not None:
            logger.warning("foldmon: %s: %s", IN_PLACE, subject.reason)
        self._guard.run(lambda: self._begin_if_due(0))

    # What the user reads

    @property
    def coverage(self) -> Coverage:
        own = self._subject.coverage
        return own if self.report is None else self.report.coverage.with_notes(*own.notes)

    @property
    def steps(self) -> int:
        return self._step

    @property
    def closed(self) -> bool:
        return self._closed

    @property
    def warnings(self) -> list[FoldingWarning]:
        return list(self._alarm.warnings)

    @property
    def should_stop(self) -> bool:
        return self._alarm.should_stop

    @property
    def overhead(self) -> float:
        return self._timetable.overhead(time.perf_counter())

    @property
    def journal_path(self) -> str:
        return str(self._output.journal.path)

    def plot(self) -> Figure:
        from foldmon.views.plots import plot_history

        return plot_history(read_journal(self.journal_path))

    def _repr_html_(self) -> str:
        from foldmon.views.notebook import history_html

        return history_html(read_journal(self.journal_path))

    def summary(self) -> str:
        return summary_table(
            self.report, self._subject.coverage, self._costs(), self._step, self.journal_path
        )

    # What the user tells

    def step(self, number: int | None = None) -> None:
        if self._counter is not None:
            self._counter.close()
            self._counter = None
        if number is None:
            self._advance()
        elif number != self._step:
            self._step = number - 1
            self._advance()

    def log(self, **values: float) -> None:
        self._logged.add({name: as_number(name, value) for name, value in values.items()})

    def probe(self) -> FoldingReport:
        if self._closed:
            raise RuntimeError("the monitor is closed; call foldmon.watch again")
        self._sampler.wait()
        self._first.release()
        began = time.perf_counter()
        self._subject.snapshot()
        return self._probe(self._step, time.perf_counter() - began)

    def flush(self, timeout: float = 30.0) -> bool:
        measured = self._sampler.wait(timeout)
        self._first.release()
        return self._output.flush(timeout) and measured

    def close(self, timeout: float = 30.0) -> None:
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

    # Checkpoints

    def state_dict(self) -> dict[str, Any]:
        return {
            "step": self._step,
            "skipped": self.skipped,
            "pairs": self._subject.pairs.fingerprint(),
            "alarm": self._alarm.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
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
            measured, logged = report.to_dict(), self._logged.take()
            warning = self._alarm.look({**measured, "logged": logged})
            seconds = time.perf_counter() - began
            self._timetable.book(stall + seconds, time.perf_counter())
            costs: ProbeCosts = {**self._costs(), "probe_seconds": seconds, "stall_seconds": stall}
            self.report = report
            self.history.append(report)
            self._first.write(probe_record(measured, logged, warning, costs))
        return report

    def _costs(self) -> RunCosts:
        return {
            "overhead": self.overhead,
            "skipped": self.skipped,
            "interval": self._timetable.interval(),
        }

    def abandon(self) -> None:
        self._closed = True
        self._sampler = Sampler()
        self._output.abandon()
        with contextlib.suppress(Exception):
            if self._counter is not None:
                self._counter.close()
