"""Numbers of the user's own, gathered from one probe to the next."""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping
from typing import Any

_AVERAGED = ("loss",)  # since the last probe: a single batch tells little


class Logged:
    """The latest value of every name; of the training loss, called ``loss``, the mean.

    It is filled in the training thread and emptied in the sampler's.

    Example:
        >>> logged = Logged()
        >>> logged.add({"loss": 1.0, "rate": 0.1})
        >>> logged.add({"loss": 3.0, "rate": 0.2})
        >>> logged.take(), logged.take()
        ({'loss': 2.0, 'rate': 0.2}, {})
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: dict[str, float] = {}
        self._counts: dict[str, int] = {}

    def add(self, values: Mapping[str, float]) -> None:
        """Take in numbers; one that is not finite makes no mean, but stands where it is all there is."""
        with self._lock:
            for name, value in values.items():
                count = self._counts.get(name, 0)
                if name not in _AVERAGED or not count:
                    self._values[name] = value
                elif math.isfinite(value):
                    self._values[name] += (value - self._values[name]) / (count + 1)
                self._counts[name] = count + math.isfinite(value)

    def take(self) -> dict[str, float]:
        """What was gathered since the last call."""
        with self._lock:
            taken, self._values, self._counts = self._values, {}, {}
        return taken


def as_number(name: str, value: Any) -> float:
    """A logged value as a float.

    Raises:
        TypeError: it is no single number.
    """
    try:
        number = float(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"monitor.log takes single numbers; {name} is {value!r}") from error
    return number if math.isfinite(number) else float("nan")
