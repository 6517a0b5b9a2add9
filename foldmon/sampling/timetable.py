"""When to probe, and how many pairs: as many points as a curve needs, and what the contract affords."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from foldmon.sampling.contract import Contract

WISHED = 50
"""The wished interval is this part of the steps so far: so many points while their number grows e-fold."""
_FIRST = 0.1  # share of the allowance that the point before training may take
# The allowance is spent evenly over the logarithm of the steps, since a run may be of any length: of what is
# left of it half goes while the number of steps, and 25 before them, doubles.
_EARLY = 25
_FIRST_LOOK = 16  # steps until those who must know beforehand meet again, where the pace is not known yet


_CURVE = 60  # points that the allowance pays for at least, where a pair is not too dear for it
_UNTRIED = 4  # the part of the panel that is measured at most, until probes have told what they cost
_FEW = 8  # pairs: a probe that affords fewer walks more of them at fewer points


@dataclass(frozen=True)
class Share:
    """What a probe measures.

    Attributes:
        pairs: number of pairs.
        points: of each path.
    """

    pairs: int
    points: int


class Timetable:
    """Decides, step by step, whether a probe is due and of how many pairs. It reads no clock.

    With a fixed interval a probe of all pairs is due whenever a multiple of it has been passed, whatever it
    costs. Otherwise the wished interval is a fiftieth of the steps so far, at least one step, and a probe
    gets what has become free of the budget since the last one and a part of the allowance, but no more time
    than passes until the next one is wished; where that does not pay for as many pairs as are worth the fixed
    cost of a probe, one at least, it waits until it does. Where it pays for fewer than eight pairs their
    paths are walked at fewer points: what differs between pairs is far more than what falls between points.

    Args:
        every: steps between probes, None to follow the contract.
        contract: keeps account.
        rows: points a path, most first: how many rows a probe of 1, 2, ... P pairs passes forward at them.

    Example:
        >>> contract = Contract(budget=0.01, allowance=1.0, a_row=0.0003)
        >>> rows = {points: [pairs * points for pairs in range(1, 65)] for points in (33, 17)}
        >>> timetable = Timetable(every=None, contract=contract, rows=rows)
        >>> timetable.share(step=0, now=0.0)
        Share(pairs=10, points=33)
    """

    def __init__(self, every: int | None, contract: Contract, rows: Mapping[int, Sequence[float]]) -> None:
        self.every, self.contract, self._rows = every, contract, rows
        points, of_whole = next(iter(rows.items()))
        self.whole = Share(len(of_whole), points)
        self._seen: int | None = None
        self._begin: int | None = None
        self._last: tuple[int, float] | None = None  # step of the last probe, and the credit after it

    def share(self, step: int, now: float) -> Share | None:
        """What to measure now, None where no probe is due."""
        seen, self._seen = self._seen, step
        if self._begin is None:
            self._begin = step
        if self.every is not None:
            passed = step % self.every == 0 if seen is None else step // self.every > seen // self.every
            return self.whole if passed else None
        if self._last is not None and step - self._last[0] < self._wished(step):
            return None
        return self._affordable(step, now)

    def resume(self, step: int) -> None:
        """A saved run goes on at this step: its curve begins anew, dense at first."""
        self._seen = self._begin = step
        self._last = None

    def probed(
        self,
        step: int,
        share: Share,
        seconds: float,
        now: float,
        beside: float = 0.0,
        rows: float | None = None,
    ) -> None:
        """A probe ended and cost this much; so did, ``beside``, what was done with those before it.

        Where it did not pass forward as many rows as its share has on average, they are told.
        """
        self.contract.book(self.rows(share) if rows is None else rows, seconds)
        self.contract.charge(beside)
        self._last = step, self.contract.credit(now)

    def rows(self, share: Share) -> float:
        """Inputs that a probe of a share passes forward."""
        return self._rows[share.points][min(share.pairs, self.whole.pairs) - 1]

    @property
    def fewest(self) -> float:
        """Rows of the smallest probe."""
        return min(rows[0] for rows in self._rows.values())

    def ahead(self, step: int, now: float) -> tuple[int, Share]:
        """After how many steps the next probe is due at the present pace, and what it measures.

        For those who must know beforehand, since they cannot each look at a clock of their own.
        """
        if self.every is not None:
            return self.every - step % self.every, self.whole
        pace = self._seconds_a_step(step, now)
        steps = math.ceil(self._wished(step))
        while not (share := self._affordable(step + steps, now + steps * pace)):
            if pace <= 0:  # no number of steps would make it affordable
                return _FIRST_LOOK, self._largest(self._least, self.whole.points)
            steps *= 2
        return steps, share

    def interval(self, step: int, now: float) -> float:
        """Wished seconds from one probe to the next; 0 with a fixed step interval."""
        return 0.0 if self.every is not None else self._wished(step) * self._seconds_a_step(step, now)

    def _affordable(self, step: int, now: float) -> Share | None:
        """What a probe would measure, None where too little to be worth its fixed cost is affordable."""
        spend = self._spend(step, now)
        if spend < self.contract.price(self._least) * (1 - 1e-9):
            return None
        if not self.contract.told_apart and self.contract.odd:  # probes of one size would never tell
            spend = max(spend, min(2 * spend, self.contract.credit(now)))
        free = self.contract.affordable(spend) + 1e-9
        shares = [self._largest(free, points) for points in self._rows]
        return next((share for share in shares if share.pairs >= min(_FEW, self.whole.pairs)), shares[-1])

    def _largest(self, rows: float, points: int) -> Share:
        """As many pairs as have no more rows, one at least."""
        return Share(max(1, bisect_right(self._rows[points], rows)), points)

    @property
    def _least(self) -> float:
        """Rows that a probe has at least.

        Fewer than are worth the fixed cost say too little; more keep the next probe waiting, early in a run,
        where its course moves most. What was foretold on a busy machine may tell anything of the fixed cost.
        """
        most = self.rows(self.whole) / (1 if self.contract.told_apart else _UNTRIED)
        curve = self.contract.affordable(self.contract.allowance / _CURVE)
        return max(self.fewest, min(self.contract.worthwhile, most, curve))

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
        passed = max(step - last, 0) / (step - (self._begin or 0) + _EARLY)
        spend = free + credit * (passed if credit > 0 else 1.0)
        room = self._wished(step) * self._seconds_a_step(step, now)
        return min(spend, max(room, least))
