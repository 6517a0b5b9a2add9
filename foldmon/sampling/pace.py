"""When a probe runs and in which thread: for a process on its own, and for several that train together.

Both are asked after every training step, in the training thread, and never raise what a probe raises.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace

from foldmon.sampling.guard import Guard
from foldmon.sampling.sampler import Sampler
from foldmon.sampling.subject import Subject
from foldmon.sampling.team import Team
from foldmon.sampling.timetable import Share, Timetable

_AT_ATTACH = 0.1  # seconds, before training begins: the next probe need not wait for the first one then

Probe = Callable[[int, float, Share], object]
"""Measures and records: given the training step, the seconds that training stood still, what to measure."""


class Alone:
    """Probes where the timetable says so, beside training where the subject has a private copy.

    Args:
        subject: what is measured.
        timetable: says when, and what.
        sampler: runs the probe beside training.
        guard: takes what a probe raises.
        probe: called with the step, the standstill and the share to measure.
    """

    def __init__(
        self,
        subject: Subject,
        timetable: Timetable,
        sampler: Sampler,
        guard: Guard,
        probe: Probe,
    ) -> None:
        self._subject, self._timetable, self._sampler = subject, timetable, sampler
        self._guard, self._probe = guard, probe
        self._attaching = True

    def advance(self, step: int) -> bool:
        """Begin a probe where one is due.

        Args:
            step: number of the training step that has ended.

        Returns:
            Whether one was due at a multiple and left out, because the last one still runs.
        """
        attaching, self._attaching = self._attaching, False
        if self._subject.capturing:
            return False  # of its steps the first one behind it passes the multiple
        busy = self._sampler.busy
        if busy and self._timetable.every is None:
            return False  # the probe comes a little later, while a multiple would be missed
        now = time.perf_counter()
        share = self._timetable.share(step, now)
        if share is None or busy or now < self._guard.resume_at:
            return share is not None and busy
        self._subject.snapshot()
        stall = time.perf_counter() - now
        if self._subject.background:
            self._sampler.offer(lambda: self._guard.attempt(lambda: self._probe(step, stall, share)))
            if attaching:
                self._sampler.wait(_AT_ATTACH)
        else:
            self._guard.attempt(lambda: self._probe(step, stall, share))
        return False


class Together:
    """Probes at the same step on all ranks, in their training threads.

    The ranks' clocks differ: all of them do what the first one's says, and no one asks at every step.

    Args:
        team: the ranks.
        timetable: of the first rank says when, and what.
        guard: takes what a probe raises.
        probe: called with the step, no standstill of its own, and the share to measure.
    """

    def __init__(self, team: Team, timetable: Timetable, guard: Guard, probe: Probe) -> None:
        self._team, self._timetable = team, timetable
        self._guard, self._probe = guard, probe
        self._next = 0.0  # step of the next probe
        self._share: Share | None = None  # what it measures
        self._ahead = 1  # steps from the latest probe to it

    def advance(self, step: int) -> bool:
        """:meth:`Alone.advance`; no probe is ever left out."""
        if step >= self._next and not self._guard.ended:
            self._next = math.inf  # for good, where the other ranks do not answer
            if self._share is None:
                self._share = self._team.from_first(lambda: self._first(step))
            share = replace(self._share, pairs=self._team.whole(self._share.pairs))
            self._guard.attempt(lambda: self._probe(step, 0.0, share))
            if self._team.met:
                self._ahead, self._share = self._team.from_first(lambda: self._look_ahead(step))
            else:
                # Not all ranks were there, and all know it: they need not talk to agree.
                self._ahead *= 2
            if not self._guard.ended:
                self._next = step + self._ahead
        return False

    def _first(self, step: int) -> Share:
        share = self._timetable.share(step, time.perf_counter())
        return share or replace(self._timetable.whole, pairs=1)

    def _look_ahead(self, step: int) -> tuple[int, Share]:
        steps, share = self._timetable.ahead(step, time.perf_counter())
        return max(steps, 1 << min(self._guard.failures, 12)), share


def pace_of(
    subject: Subject,
    timetable: Timetable,
    sampler: Sampler,
    guard: Guard,
    probe: Probe,
) -> Alone | Together:
    """How the probes of a subject are paced."""
    if subject.team is None:
        return Alone(subject, timetable, sampler, guard, probe)
    return Together(subject.team, timetable, guard, probe)
