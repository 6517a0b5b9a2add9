"""The contract for the cost: at most a share of the training time, and an allowance in all."""

from __future__ import annotations

from collections import deque

import numpy as np

_REMEMBERED = 16  # probes by which the price of the next one is judged
_TOLD_APART = 3  # of these; one alone may have been slow by chance, as the first beside training often is


class Contract:
    """Keeps account of what probes cost, and foretells what one will. It reads no clock: times are passed in.

    A probe's price is that of a fixed part and of its rows, the inputs that it passes forward. Until two
    probes of different size are known, the parts are those that were foretold, scaled to what probes did
    cost.

    Args:
        budget: share of the training time, between 0 and 1.
        allowance: seconds in all beyond it.
        a_row: seconds that a row is foretold to take.
        fixed: seconds that a probe is foretold to take beside its rows.

    Attributes:
        cost: seconds that probes have cost so far.
        told_apart: whether enough of the last probes were small to tell the fixed part from the rows'.

    Example:
        >>> contract = Contract(budget=0.01, allowance=1.0, a_row=0.02)
        >>> contract.start(now=0.0)
        >>> contract.book(rows=10, seconds=0.3)
        >>> round(contract.credit(now=50.0), 3), round(contract.affordable(0.6), 3)
        (1.2, 20.0)
    """

    def __init__(self, budget: float, allowance: float, a_row: float, fixed: float = 0.0) -> None:
        self.budget, self.allowance = budget, allowance
        self.cost = 0.0
        self._start: float | None = None
        self._known: deque[tuple[float, float]] = deque(maxlen=_REMEMBERED)
        self._fixed, self._a_row = fixed, a_row
        self.told_apart = False
        self._probes = 0

    def start(self, now: float) -> None:
        """Training begins (only the first call counts)."""
        if self._start is None:
            self._start = now

    def elapsed(self, now: float) -> float:
        """Seconds since the first step, 0 before it."""
        return 0.0 if self._start is None else now - self._start

    def overhead(self, now: float) -> float:
        """Share of the time since the first step that probes cost, 0 before it."""
        elapsed = self.elapsed(now)
        return self.cost / elapsed if elapsed > 0 else 0.0

    def credit(self, now: float) -> float:
        """Seconds that probes may still cost; below 0 where one cost more than foretold."""
        return self.allowance + self.budget * self.elapsed(now) - self.cost

    def charge(self, seconds: float) -> None:
        """Something beside the measuring has cost this much."""
        self.cost += seconds

    def book(self, rows: float, seconds: float) -> None:
        """A probe of so many rows has cost this much."""
        self.cost += seconds
        self._probes += 1
        self._known.append((rows, seconds))
        counts, costs = np.array(self._known, dtype=np.float64).T
        larger, smaller = np.nonzero(counts[:, None] > counts)
        self.told_apart = int((counts <= counts.max() / 2).sum()) >= _TOLD_APART
        if len(larger):
            # Medians: a probe beside a validation, say, takes many times as long as it should.
            slopes = (costs[larger] - costs[smaller]) / (counts[larger] - counts[smaller])
            self._a_row = max(float(np.median(slopes)), float((costs / counts).min()) / 2)
            self._fixed = max(float(np.median(costs - self._a_row * counts)), 0.0)
        else:
            scale = float(np.median(costs)) / max(self.price(rows), 1e-12)
            self._fixed, self._a_row = scale * self._fixed, scale * self._a_row

    @property
    def odd(self) -> bool:
        """Whether the next probe is the second, fourth and so on of those by which prices are judged."""
        return self._probes % 2 == 1

    def price(self, rows: float) -> float:
        """Seconds that a probe of so many rows is expected to cost."""
        return self._fixed + self._a_row * rows

    @property
    def worthwhile(self) -> float:
        """Rows from which on the fixed part is at most a third of a price: fewer cost nearly as much."""
        return 2.0 * self._fixed / max(self._a_row, 1e-12)

    def affordable(self, seconds: float) -> float:
        """How many rows these seconds pay for, 0 where not even the fixed part."""
        return max(0.0, (seconds - self._fixed) / max(self._a_row, 1e-12))
