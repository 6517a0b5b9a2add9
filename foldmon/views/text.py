"""Numbers, names and curves as characters."""

from __future__ import annotations

import math
from collections.abc import Sequence

_RISING = "▁▂▃▄▅▆▇█"


def sparkline(values: Sequence[float | None], width: int) -> str:
    """The values from 0 to their largest, the latest at the right; a space where one is missing.

    Args:
        values: in order of time.
        width: characters at most; more values than that are averaged in groups.

    Example:
        >>> sparkline([0.0, 1.0, None, 2.0], 10)
        '▁▅ █'
    """
    groups = _grouped(values, width)
    top = max((value for value in groups if value is not None), default=0.0) or 1.0
    return "".join(
        " " if value is None else _RISING[min(int(max(value, 0.0) / top * 8), 7)] for value in groups
    )


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


def _grouped(values: Sequence[float | None], width: int) -> list[float | None]:
    size = max(1, math.ceil(len(values) / max(width, 1)))
    groups: list[float | None] = []
    for begin in range(0, len(values), size):
        known = [v for v in values[begin : begin + size] if v is not None and math.isfinite(v)]
        groups.append(sum(known) / len(known) if known else None)
    return groups
