"""What foldmon does in a framework's callbacks never ends the framework's training."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Any, TypeVar, cast

logger = logging.getLogger("foldmon")

_M = TypeVar("_M", bound=Callable[..., None])


def guarded(method: _M) -> _M:
    """A callback's method that says what went wrong, and lets training go on.

    Whoever calls ``foldmon.watch`` gets the error itself; whoever hands a callback to a trainer has begun a
    training that must not end for it, at its start or hours later.

    Example:
        >>> class Callback:
        ...     @guarded
        ...     def on_step_end(self):
        ...         raise ValueError("of ours")
        >>> Callback().on_step_end()
    """

    @functools.wraps(method)
    def attempt(self: Any, *args: Any, **kwargs: Any) -> None:
        try:
            method(self, *args, **kwargs)
        except Exception as error:
            told: set[Any] = vars(self).setdefault("_told_of", set())
            if (place := (method.__name__, type(error))) not in told:
                told.add(place)
                logger.warning(
                    "foldmon: %s.%s failed; training goes on: %s: %s",
                    type(self).__name__, method.__name__, type(error).__name__, error,
                    exc_info=logger.isEnabledFor(logging.DEBUG),
                )  # fmt: skip

    return cast(_M, attempt)
