"""The monitor at work: steps come in, probes go out."""

from __future__ import annotations

import contextlib
import logging
import math
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any, SupportsFloat

import torch
from torch import nn
from torch.optim import Optimizer

from foldmon.config.options import Config
from foldmon.exporters.output import Output
from foldmon.folding.data.numbers import required_whole
from foldmon.folding.model.scout import BY_BATCH
from foldmon.folding.results.coverage import Coverage
from foldmon.folding.results.report import FoldingReport
from foldmon.folding.undisturbed.tensors import CannotPutBackError
from foldmon.journal.following import read_journal
from foldmon.journal.records import end_record, probe_record, start_record
from foldmon.journal.schema import ProbeCosts, RunCosts
from foldmon.monitor.first import FirstRecord
from foldmon.monitor.inert import InertMonitor
from foldmon.monitor.logged import Logged, checked
from foldmon.monitor.protocol import Monitor
from foldmon.monitor.summary import summary_table
from foldmon.sampling.contract import Contract
from foldmon.sampling.guard import Guard
from foldmon.sampling.pace import pace_of
from foldmon.sampling.rotation import Rotation
from foldmon.sampling.sampler import Sampler
from foldmon.sampling.silence import Silence
from foldmon.sampling.steps import StepCounter
from foldmon.sampling.strategies import NotMeasuredError
from foldmon.sampling.subject import IN_PLACE, Subject
from foldmon.sampling.team import TeamError
from foldmon.sampling.timetable import Share, Timetable
from foldmon.sampling.watched import Watched
from foldmon.warning.alarm import Alarm, OnWarning
from foldmon.warning.detector import FoldingWarning

if TYPE_CHECKING:
    from matplotlib.figure import Figure

logger = logging.getLogger("foldmon")

_HISTORY = 1000
_LONG = 3.0  # seconds of a last measurement that are worth a word


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
        self._step = self._begun = step
        self._logged = Logged()
        self._alarm = Alarm(on_warning)
        self._rotation = Rotation(subject.pairs, config.points, config.seed)
        self._contract = Contract(config.budget, config.allowance, subject.a_row, subject.fixed)
        self._timetable = Timetable(config.every, self._contract, subject.rows)
        self._exported = 0.0  # seconds that exporters had computed at the latest probe
        self._probed: int | None = None  # step of the latest probe
        self._sampler = Sampler()
        self._measuring = threading.Lock()
        self._guard = Guard(TeamError, CannotPutBackError, NotMeasuredError)
        self._closed = False
        self._pace = pace_of(subject, self._timetable, self._sampler, self._guard, self._probe)
        self._output = output
        self._first = FirstRecord(self._output.write)
        self._output.write(start_record(type(model).__name__, subject.coverage, config.to_dict()))
        self._silence = Silence(Watched(model))
        self._counter: StepCounter | None = StepCounter(model, self._advance, optimizer, self._silence)
        if subject.reason is not None:
            logger.warning("foldmon: %s: %s", IN_PLACE, subject.reason)
        self._say_what_is_wrong()
        self._say_what_is_dear()
        self._guard.run(self._begin_if_due)

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
    def best_step(self) -> int | None:
        return self._alarm.best_step

    @property
    def overhead(self) -> float:
        return self._contract.overhead(time.perf_counter())

    @property
    def journal_path(self) -> str:
        return str(self._output.journal.path)

    def plot(self) -> Figure:
        from foldmon.views.plots import plot_history
        from foldmon.views.run.undrawn import UNDRAWN

        return plot_history(read_journal(self.journal_path, leave_out=UNDRAWN))

    def _repr_html_(self) -> str:
        from foldmon.views.notebook import history_html
        from foldmon.views.run.undrawn import UNDRAWN

        return history_html(read_journal(self.journal_path, leave_out=UNDRAWN))

    def summary(self) -> str:
        return summary_table(
            self.report, self._subject.coverage, self._costs(), self._step, self.journal_path, self.warnings
        )

    # What the user tells

    def step(self, number: int | None = None) -> None:
        counted = 0
        if self._counter is not None:
            self._counter.close()
            counted, self._counter = self._step - self._begun, None
        # The first step that is told by hand may have been seen before it was told.
        after = self._step if counted == 1 else self._step + 1
        reached = after if number is None else required_whole("the number of a step", number)
        if reached != self._step:
            self._step = reached - 1
            self._advance()

    def log(self, **values: SupportsFloat) -> None:
        self._logged.add({name: checked(name, value) for name, value in values.items()})

    def probe(self) -> FoldingReport:
        if self._closed:
            raise RuntimeError("the monitor is closed; call foldmon.watch again")
        self._sampler.wait()
        self._first.release()
        self._silence.stepped()
        began = time.perf_counter()
        self._subject.snapshot()
        return self._probe(self._step, time.perf_counter() - began, self._timetable.whole)

    def flush(self, timeout: float = 30.0) -> bool:
        measured = self._sampler.wait(timeout)
        self._first.release()
        return self._output.flush(timeout) and measured

    def close(self, timeout: float = 30.0, *, last: float = math.inf) -> None:
        if self._closed:
            return
        self._closed = True
        if self._counter is not None:
            self._counter.close()
        if last > 0 or self._subject.gone:
            self._silence.ended()
        self._silence.close()
        ended = self._sampler.finish(timeout)
        if not ended:
            logger.warning(
                "foldmon: the probe under way at step %d is given up: it takes too long", self._step
            )
        try:
            if last > 0 and not self._sampler.busy:
                self._guard.run(lambda: self._measure_the_end(last))
        finally:  # an impatient Ctrl-C, too
            if self._sampler.close():
                self._subject.release()
            self._alarm.tell()
            self._first.release()
            self._output.write(end_record(self._step, self._costs()))
            self._output.close(timeout)
            if self._subject.team is not None:
                self._subject.team.close()

    # Checkpoints

    def state_dict(self) -> dict[str, Any]:
        held_out = self._subject.held_out
        return {
            "step": self._step,
            "skipped": self.skipped,
            "pairs": self._subject.pairs.fingerprint(),
            "alarm": self._alarm.state_dict(),
            "rotation": self._rotation.state_dict(),
            "held_out": None if held_out is None else held_out.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        step, skipped, fingerprint = int(state["step"]), int(state["skipped"]), state["pairs"]
        self._sampler.wait()
        if self._first.take_back():
            self.report = None
            self.history.clear()
        self._step = self._begun = step
        self.skipped = skipped
        self._timetable.resume(step)
        self._alarm.load_state_dict(state["alarm"])
        if fingerprint == self._subject.pairs.fingerprint():
            self._rotation.load_state_dict(state["rotation"])
            if (held_out := self._subject.held_out) is not None and state["held_out"] is not None:
                with contextlib.suppress(ValueError):  # of other inputs: their curve begins anew
                    held_out.load_state_dict(state["held_out"])
        else:
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
        self._silence.stepped()
        self._step += steps
        self._guard.run(self._begin_if_due)

    def _begin_if_due(self) -> None:
        if self._step:
            self._contract.start(time.perf_counter())
        self.skipped += self._pace.advance(self._step)

    def _say_what_is_wrong(self) -> None:
        for note in self._subject.coverage.notes:
            if note.endswith(BY_BATCH):
                logger.warning("foldmon: %s", note)

    def _say_what_is_dear(self) -> None:
        price, free = self._contract.price(self._timetable.fewest), self.config.allowance
        if self.config.every is None and price > free:
            after = (price - free) / self.config.budget
            logger.warning(
                "foldmon: measuring one pair takes about %.1f s, more than the allowance of %.1f s: the "
                "first value comes after about %.0f s of training. Pass a larger allowance= or budget=, or "
                "fewer points=",
                price, free, after,
            )  # fmt: skip

    def _measure_the_end(self, most: float) -> None:
        """A last measurement of all pairs, so that the end of a run is known. After training it is free."""
        subject, price = self._subject, self._contract.price(self._timetable.rows(self._timetable.whole))
        known = self._probed == self._step and self.report is not None and self.report.measured is None
        failing = self._guard.failures > 0
        wanted = bool(self._step) and not (known or failing or price > most or subject.gone)
        if subject.team is not None:
            # Of ranks that end within some seconds of each other, or not at all.
            wanted = subject.team.agree(wanted)
        if not wanted:
            return
        if price > _LONG:
            logger.warning(
                "foldmon: the last measurement takes about %.0f s; monitor.close(last=0) leaves it out", price
            )
        self._subject.snapshot()
        self._probe(self._step, 0.0, self._timetable.whole, charged=False)

    # In the sampler's thread (in the training thread where there is no copy)

    def _probe(self, step: int, stall: float, share: Share, *, charged: bool = True) -> FoldingReport:
        began, worked = time.perf_counter(), time.thread_time()
        with self._measuring:
            paths = self._rotation.next(share.pairs) if share.pairs < self._timetable.whole.pairs else None
            found = self._subject.measure(paths, step, share.points)
            report = self._rotation.taken_in(found, step)
            measured, logged = report.to_dict(), self._logged.take()
            warning = self._alarm.look({**measured, "logged": logged})
            seconds = time.perf_counter() - began
            if charged:
                cost = stall + self._taken_from_training(seconds, time.thread_time() - worked)
                exported, before = self._output.worked, self._exported
                self._exported = exported
                # What not every probe has is charged, but does not tell what the next one costs.
                beside = self._subject.compared
                self._timetable.probed(
                    step, share, cost - beside, time.perf_counter(), exported - before + beside,
                    self._subject.passed(found),
                )  # fmt: skip
            self._probed = step
            costs: ProbeCosts = {**self._costs(), "probe_seconds": seconds, "stall_seconds": stall}
            self.report = report
            self.history.append(report)
            self._first.write(probe_record(measured, logged, warning, costs))
        return report

    def _taken_from_training(self, seconds: float, worked: float) -> float:
        """What a probe costs: all its time, but beside training on the CPU that in which it computes.

        That of all its threads: where training computes with several, too, each step waits for the slowest of
        them (measured with two on two cores: a second of computing cost training up to four and a half).
        """
        if not self._subject.background or not self._subject.on_cpu:
            return seconds
        return min(seconds, worked * torch.get_num_threads())

    def _costs(self) -> RunCosts:
        return {
            "overhead": self.overhead,
            "cost_seconds": self._contract.cost,
            "skipped": self.skipped,
            "interval": self._timetable.interval(self._step, time.perf_counter()),
        }

    def __reduce__(self) -> tuple[type[Monitor], tuple[()]]:
        """A copy, in a saved model or trainer, watches nothing."""
        return InertMonitor, ()

    def abandon(self) -> None:
        self._closed = True
        self._sampler = Sampler()
        self._output.abandon()
        with contextlib.suppress(Exception):
            if self._counter is not None:
                self._counter.close()
