"""Any function as an exporter: what serves a backend that foldmon does not know, in one line."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from foldmon.exporters.scalars import scalars
from foldmon.journal.schema import Record, is_probe
from foldmon.journal.unparsed import UNEXPORTED

Function = Callable[[dict[str, float], int], object]


class CallableExporter:
    """Calls ``function(values, step)`` once a probe, in a thread that is not the training's.

    The values have the names that TensorBoard shows (``folding/network``, ``folding/layer/NN.name``,
    ``folding/warning/level``, ..., and what was logged); all layers are among them, and a value may be NaN.
    Where the function raises, the probe is offered again later.

    Args:
        function: takes the values, and the training step at which they were measured.

    Raises:
        TypeError: it cannot be called so.

    Example:
        >>> probe = {"kind": "probe", "seq": 1, "step": 20, "phi": 0.03, "nonzero_fraction": 0.5,
        ...     "phi_median_nonzero": 0.06, "phi_interval": [0.02, 0.04], "layers": ["relu"],
        ...     "folding": [0.03], "cumulative": [0.03], "decision": None, "logged": {},
        ...     "warning": {"level": 0, "event": None},
        ...     "monitor": {"overhead": 0.004, "probe_seconds": 0.1, "skipped": 0}}
        >>> exporter = CallableExporter(lambda values, step: print(step, values["folding/network"]))
        >>> exporter.write([probe])
        20 0.03
    """

    unread = UNEXPORTED

    def __init__(self, function: Function) -> None:
        self.name = name_of(function)
        self._function = function
        self._last_seq = -1
        try:
            inspect.signature(function).bind({}, 0)
        except ValueError:
            pass  # some functions written in C do not tell their arguments
        except TypeError as error:
            raise TypeError(
                f"an exporter function is called as f(values, step): {self.name}: {error}"
            ) from None

    def write(self, records: Sequence[Record]) -> None:
        """Call the function with each probe that it has not taken yet."""
        for record in filter(is_probe, records):
            if record["seq"] > self._last_seq:
                self._function(scalars(record), record["step"])
                self._last_seq = record["seq"]

    def close(self) -> None:
        """Nothing is held: what the function writes to is the user's."""


def name_of(function: Any) -> str:
    """A function's name; of another object that can be called, its class's.

    Example:
        >>> name_of(print), name_of(lambda values, step: None), name_of("".join)
        ('print', '<lambda>', 'join')
    """
    return str(getattr(function, "__name__", type(function).__name__))
