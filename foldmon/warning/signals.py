"""Signals: pure functions of a run's history, each a number that rises when something goes wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from foldmon.measure.statistics import Floats
from foldmon.warning.history import History

Shape = Callable[[Floats], float]

_RECENT = 3
_SETTLED = 2
"""Blocks at the start that are no one's plateau: the values at initialisation."""


def recent(values: Floats) -> float:
    """The mean of the last three values."""
    return float(values[-_RECENT:].mean())


def rise(values: Floats) -> float:
    """How far the recent mean has risen above its lowest value: growth past a plateau, an upturn.

    Example:
        >>> import numpy as np
        >>> from foldmon.warning.signals import rise
        >>> rise(np.array([9.0, 9, 9, 1, 1, 1, 2, 2, 2]))
        1.0
    """
    means = running_means(values)
    return float(means[-1] - means.min())


def fall(values: Floats) -> float:
    """How far the recent mean has fallen below its highest value."""
    return rise(-values)


def trend(values: Floats) -> float:
    """The recent mean against the median of the run's second half."""
    return recent(values) - float(np.median(values[(len(values) - 1) // 2 :]))


def slope(values: Floats) -> float:
    """Least-squares slope over the run's second half, in units a run length.

    Example:
        >>> import numpy as np
        >>> from foldmon.warning.signals import slope
        >>> round(slope(np.arange(10.0)), 6)
        10.0
    """
    last = len(values) - 1
    late = values[last - last // 2 :]
    if len(late) < _RECENT:
        return 0.0
    time = np.arange(len(late)) - (len(late) - 1) / 2
    return float((time @ late) / (time @ time) * len(values))


def since_early(values: Floats) -> float:
    """The recent mean against the median of the run's first third."""
    last = len(values) - 1
    return recent(values) - float(np.median(values[min(3, last) : max(4, last // 3) + 1]))


def running_means(values: Floats) -> Floats:
    """Running means of three values from the time on that the first values are past."""
    sums = np.convolve(values, np.ones(_RECENT), "full")[: len(values)]
    means: Floats = sums / np.minimum(np.arange(1, len(values) + 1), _RECENT)
    return means[min(_SETTLED, len(values) - 1) :]


SHAPES: dict[str, Shape] = {
    "recent": recent,
    "rise": rise,
    "fall": fall,
    "trend": trend,
    "slope": slope,
    "since_early": since_early,
}


@dataclass(frozen=True)
class Signal:
    """A reading and the shape in its course that is looked for.

    Example:
        >>> from foldmon.warning.history import History
        >>> from foldmon.warning.signals import Signal
        >>> history = History()
        >>> for step, phi in enumerate([9.0, 9, 9, 1, 1, 1, 2, 2, 2]):
        ...     _ = history.add(step, {"phi": phi})
        >>> Signal("phi", "rise")(history)
        1.0
    """

    reading: str
    shape: str

    def __call__(self, history: History) -> float:
        """The signal's value now; 0 where its reading was never given."""
        values = history[self.reading]
        return SHAPES[self.shape](values) if len(values) else 0.0
