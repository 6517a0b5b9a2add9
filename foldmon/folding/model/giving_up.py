"""Ending a measurement half-way: whoever waits for its thread need not wait for a long pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_wished: ContextVar[Callable[[], bool] | None] = ContextVar("foldmon_giving_up", default=None)


class GivenUp(BaseException):
    """The measurement under way is not wanted any more.

    No ``Exception``: a model whose forward catches those must not go on.
    """


@contextmanager
def may_be_given_up(wished: Callable[[], bool]) -> Iterator[None]:
    """Measurements in this thread, within the block, end where ``wished()`` says so.

    Example:
        >>> with may_be_given_up(lambda: True):
        ...     go_on()
        Traceback (most recent call last):
        foldmon.folding.model.giving_up.GivenUp
    """
    before = _wished.set(wished)
    try:
        yield
    finally:
        _wished.reset(before)


def go_on() -> None:
    """Called between passes, and at every torch function in them.

    Raises:
        GivenUp: that is wished.
    """
    wished = _wished.get()
    if wished is not None and wished():
        raise GivenUp
