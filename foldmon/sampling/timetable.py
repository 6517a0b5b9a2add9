"""When to probe, and how many pairs: as many points as a curve needs, and what the contract affords."""

from __future__ import annotations

import math

from foldmon.sampling.contract import Contract

WISHED = 50
"""The wished interval is this part of the steps so far: so many points while their number grows e-fold."""
_FIRST = 0.1  # share of the allowance that the point before training may take
# The allowance is spent evenly over the logarithm of the steps, since a run may be of any length: what is
# left of it falls by a factor of e while the number of steps, and 25 before them, grows by e**1.5.
_SPREAD, _EARLY = 1.5, 25
_CURVE = 60  # probes that the allowance is to pay for at least, however many pairs these measure
_FIRST_LOOK = 16  # steps until those who must know beforehand meet again, where the pace is not known yet


class Timetable:
    """Decides, step by step, whether a probe is due and of how many pairs. It reads no clock.

    With a fixed interval a probe of all pairs is due whenever a multiple of it has been passed, whatever it
    costs. Otherwise the wished interval is a fiftieth of the steps so far, at least one step, and a probe
    gets what has become free of the budget since the last one and a part of the allowance, but no more time
    than passes until the next one is wished; where that does not pay for as many pairs as are worth the fixed
    cost of a probe, one at least, it waits until it does.

    Args:
        every: steps between probes, None to follow the contract.
        contract: keeps account.
        pairs: of the whole panel, P.

    Example:
        >>> contract = Contract(budget=0.01, allowance=1.0, a_pair=0.01)
        >>> timetable = Timetable(every=None, contract=contract, pairs=64)
        >>> timetable.share(step=0, now=0.0)
        10
    """

    def __init__(self, every: int | None, contract: Contract, pairs: int) -> None:
        self.every, self.contract, self.pairs = every, contract, pairs
        self._seen: int | None = None
        self._begin: int | None = None
        self._last: tuple[int, float] | None = None  # step of the last probe, and the credit after it

    def share(self, step: int, now: float) -> int:
        """Number of pairs to measure now, 0 where no probe is due."""
        seen, self._seen = self._seen, step
        if self._begin is None:
            self._begin = step
        if self.every is not None:
            passed = step % self.every == 0 if seen is None else step // self.every > seen // self.every
            return self.pairs if passed else 0
        if self._last is not None and step - self._last[0] < self._wished(step):
            return 0
        return self._count(step, now)

    def resume(self, step: int) -> None:
        """A saved run goes on at this step: its curve begins anew, dense at first."""
        self._seen = self._begin = step
        self._last = None

    def probed(self, step: int, pairs: int, seconds: float, now: float, beside: float = 0.0) -> None:
        """A probe ended and cost this much; so did what was done with those before it."""
        self.contract.book(pairs, seconds)
        self.contract.charge(beside)
        self._last = step, self.contract.credit(now)

    def ahead(self, step: int, now: float) -> tuple[int, int]:
        """After how many steps the next probe is due at the present pace, and of how many pairs.

        For those who must know beforehand, since they cannot each look at a clock of their own.
        """
        if self.every is not None:
            return self.every - step % self.every, self.pairs
        pace = self._seconds_a_step(step, now)
        steps = math.ceil(self._wished(step))
        while not (pairs := self._count(step + steps, now + steps * pace)):
            if pace <= 0:  # no number of steps would make it affordable
                return _FIRST_LOOK, self._least
            steps *= 2
        return steps, pairs

    def interval(self, step: int, now: float) -> float:
        """Wished seconds from one probe to the next; 0 with a fixed step interval."""
        return 0.0 if self.every is not None else self._wished(step) * self._seconds_a_step(step, now)

    def _count(self, step: int, now: float) -> int:
        """Pairs that a probe would measure, 0 where too few to be worth its fixed cost are affordable."""
        least, spend = self._least, self._spend(step, now)
        if spend < self.contract.price(least) * (1 - 1e-9):
            return 0
        return max(least, min(self.pairs, self.contract.affordable(spend)))

    @property
    def _least(self) -> int:
        """Pairs that a probe measures at least: as many as are worth its fixed cost, and more where cheap."""
        cheap = self.contract.affordable(self.contract.allowance / _CURVE)
        return min(self.pairs, max(self.contract.worthwhile, cheap))

    def _wished(self, step: int) -> float:
        return max(1.0, (step - (self._begin or 0)) / WISHED)

    def _seconds_a_step(self, step: int, now: float) -> float:
        taken = step - (self._begin or 0)
        return self.contract.elapsed(now) / taken if taken > 0 else 0.0

    def _spend(self, step: int, now: float) -> float:
        """Seconds that a probe at this step may cost."""
        least = self.contract.price(self._least)
        now_free = self.contract.credit(now)
        if self._last is None:
            return max(now_free * _FIRST, min(now_free, least))
        last, credit = self._last
        free = now_free - credit
        begin = (self._begin or 0) - _EARLY
        apart = math.log((step - begin) / (last - begin)) if step > last else 0.0
        spend = free + credit * (1.0 if credit < 0 else -math.expm1(-apart / _SPREAD))
        room = self._wished(step) * self._seconds_a_step(step, now)
        return min(spend, max(room, least))
