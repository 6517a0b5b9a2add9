"""Numbers, names and curves as characters."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import TypeGuard

from foldmon.exporters.scale import reach, settled

_RISING = "▁▂▃▄▅▆▇█"


def sparkline(
    steps: Sequence[int], values: Sequence[float | None], width: int, *, fitted: bool = False
) -> str:
    """A curve over the steps, the latest at the right; a space where a value is missing.

    By step and not by probe: probes are dense at the beginning of a run, which would else take most of the
    line. A character is the mean of the probes in its steps, or holds the one before.

    Args:
        steps: of the probes, in order, at least one.
        values: not negative; the scale is from 0 to where ``reach`` ends, beyond it the line is full.
        width: characters at most.
        fitted: the scale begins at the lowest value after the first tenth of the steps instead.

    Example:
        >>> sparkline([0, 1, 2, 3], [0.0, 1.0, None, 2.0], 10), sparkline([0, 20, 99], [0.0, 4.0, 8.0], 10)
        ('▁▅ █', '▁▁▅▅▅▅▅▅▅█')
    """
    if fitted:
        low = min((value for value in values[settled(steps) :] if _is_finite(value)), default=0.0)
        values = [None if value is None else max(value - low, 0.0) for value in values]
    cells = _in_cells(steps, values, width)
    top = reach(steps, [math.nan if value is None else value for value in values]) or 1.0
    return "".join(
        " " if value is None else _RISING[min(int(max(value, 0.0) / top * 8), 7)] for value in cells
    )


def share(measured: int | None, pairs: int | None) -> str:
    """How many pairs were measured; empty where all were or where an older journal does not say.

    Example:
        >>> share(2, 64), share(64, 64)
        ('2 of 64 pairs', '')
    """
    return "" if measured == pairs else f"{measured} of {pairs} pairs"


def printable(text: str) -> str:
    """The text without what could steer a terminal.

    Example:
        >>> printable("re\x1b[2Jlu")
        're?[2Jlu'
    """
    return "".join(char if char.isprintable() else "?" for char in text)


def counted(number: int, noun: str) -> str:
    """A number with its noun.

    Example:
        >>> counted(1, "probe"), counted(1200, "layer")
        ('1 probe', '1,200 layers')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def number(value: float | None) -> str:
    """Four decimals, a question mark where there is no number.

    Example:
        >>> number(0.25), number(None)
        ('0.2500', '?')
    """
    return "?" if value is None else f"{value:.4f}"


def bounds(low: float | None, high: float | None) -> str:
    """What follows a number that has an interval; nothing where it has none.

    Example:
        >>> bounds(0.2, 0.3), bounds(None, None)
        (' [0.2000, 0.3000]', '')
    """
    return "" if low is None or high is None else f" [{low:.4f}, {high:.4f}]"


def _in_cells(steps: Sequence[int], values: Sequence[float | None], width: int) -> list[float | None]:
    span = steps[-1] - steps[0] + 1
    count = min(span, max(width, 1))
    cells: dict[int, list[float | None]] = defaultdict(list)
    for step, value in zip(steps, values, strict=True):
        cells[(step - steps[0]) * count // span].append(value)
    means: list[float | None] = []
    for place in range(count):
        means.append(_mean(cells[place]) if place in cells else means[-1])
    return means


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if _is_finite(value)]
    return sum(known) / len(known) if known else None


def _is_finite(value: float | None) -> TypeGuard[float]:
    return value is not None and math.isfinite(value)
