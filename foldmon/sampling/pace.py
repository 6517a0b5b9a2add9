"""When a probe runs and in which thread: for a process on its own, and for several that train together.

Both are asked after every training step, in the training thread, and never raise what a probe raises.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from foldmon.sampling.guard import Guard
from foldmon.sampling.sampler import Sampler
from foldmon.sampling.subject import Subject
from foldmon.sampling.team import Team
from foldmon.sampling.timetable import Timetable

Probe = Callable[[int, float], object]
"""Measures and records, given the training step and the seconds that training stood still for it."""


class Alone:
    """Probes where the clock says so, beside training where the subject has a private copy.

    Args:
        subject: what is measured.
        timetable: says when.
        sampler: runs the probe beside training.
        guard: takes what a probe raises.
        probe: called with the step and the standstill.
    """

    def __init__(
        self, subject: Subject, timetable: Timetable, sampler: Sampler, guard: Guard, probe: Probe
    ) -> None:
        self._subject, self._timetable, self._sampler = subject, timetable, sampler
        self._guard, self._probe = guard, probe

    def advance(self, step: int, taken: int) -> bool:
        """Begin a probe where one is due.

        Args:
            step: number of the training step that has ended.
            taken: steps since this was last asked.

        Returns:
            Whether one was due but left out, because the last one still runs.
        """
        now = time.perf_counter()
        if now < self._guard.resume_at or not self._timetable.due(step, now):
            return False
        if self._sampler.busy:
            self._timetable.postpone(now)
            return True
        self._subject.snapshot()
        stall = time.perf_counter() - now
        if self._subject.background:
            self._sampler.offer(lambda: self._guard.attempt(lambda: self._probe(step, stall)))
        else:
            self._guard.attempt(lambda: self._probe(step, stall))
        return False


class Together:
    """Probes at the same step on all ranks, in their training threads.

    The ranks' clocks differ: all of them do what the first one's says, and no one asks at every step.

    Args:
        team: the ranks.
        timetable: of the first rank says when.
        guard: takes what a probe raises.
        probe: called with the step and no standstill of its own.
    """

    def __init__(self, team: Team, timetable: Timetable, guard: Guard, probe: Probe) -> None:
        self._team, self._timetable, self._guard, self._probe = team, timetable, guard, probe
        self._taken = 0  # steps in this process
        self._next = 0.0  # step of the next probe

    def advance(self, step: int, taken: int) -> bool:
        """:meth:`Alone.advance`; no probe is ever left out."""
        self._taken += taken
        if step >= self._next and not self._guard.ended:
            self._next = math.inf  # for good, where the other ranks do not answer
            self._guard.attempt(lambda: self._probe(step, 0.0))
            self._next = step + self._team.from_first(lambda: self._ahead(step))
        return False

    def _ahead(self, step: int) -> int:
        every = self._timetable.every
        if every is not None:
            ahead = every - step % every
        else:
            ahead = self._timetable.steps_ahead(self._taken, time.perf_counter())
        return max(ahead, 1 << min(self._guard.failures, 12))


def pace_of(
    subject: Subject, timetable: Timetable, sampler: Sampler, guard: Guard, probe: Probe
) -> Alone | Together:
    """How the probes of a subject are paced."""
    if subject.team is None:
        return Alone(subject, timetable, sampler, guard, probe)
    return Together(subject.team, timetable, guard, probe)
