"""Exporters that write to one run of a backend, as of the two networks of a GAN: each has its own names."""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Hashable
from itertools import count

logger = logging.getLogger("foldmon")

_lock = threading.Lock()
_living: weakref.WeakKeyDictionary[object, tuple[Hashable, int]] = weakref.WeakKeyDictionary()


class Names:
    """The names that an exporter writes under: the second one of a run, while the first lives, has its own.

    Args:
        exporter: held weakly.
        backend: in words.
        run: what tells its run from others of this process.

    Example:
        >>> class Exporter: pass
        >>> first, second = Exporter(), Exporter()
        >>> one, other = Names(first, "MLflow", "a4f0"), Names(second, "MLflow", "a4f0")
        >>> one("folding/network"), other("folding/network"), other("foldmon.model")
        ('folding/network', 'folding-2/network', 'foldmon-2.model')
        >>> one.give_back(first)
        >>> Names(Exporter(), "MLflow", "a4f0")("folding/network")
        'folding/network'
    """

    def __init__(self, exporter: object, backend: str, run: Hashable) -> None:
        with _lock:
            taken = {number for where, number in _living.values() if where == (backend, run)}
            self._number = next(number for number in count(1) if number not in taken)
            _living[exporter] = (backend, run), self._number
        if self._number > 1:
            logger.warning(
                "foldmon: another monitor logs to the same %s run; this one's values are under %s, %s, ...",
                backend, self("folding/"), self("heldout/"),
            )  # fmt: skip

    def __call__(self, name: str) -> str:
        """A name with the number in its first part."""
        if self._number == 1:
            return name
        end = min(place for mark in "/." if (place := (name + mark).find(mark)) >= 0)
        return f"{name[:end]}-{self._number}{name[end:]}"

    def give_back(self, exporter: object) -> None:
        """The exporter writes no more."""
        with _lock:
            _living.pop(exporter, None)
