"""What is put, while a model runs, in the place of what could not be put back afterwards."""

from __future__ import annotations

import copy
import functools
import io
import sys
import types
import warnings
from collections.abc import Callable, Iterable
from typing import Any

from foldmon.folding.undisturbed.containers import items_of, size_of
from foldmon.folding.undisturbed.reach import LONG, GlobalName, data_of, is_queue, runs_dry
from foldmon.folding.undisturbed.restores import variable_of
from foldmon.folding.undisturbed.stand_in import Drain, StandIn


def protect(thing: Any) -> None:
    """Exchange what a thing holds of this kind; who keeps the thing puts the exchanged back.

    For an iterator comes a copy, or a stand-in that says what it is; for a log a file in memory; for a queue
    what takes all and gives nothing.

    Example:
        >>> held = {"numbers": iter([1, 2]), "names": ["a"]}
        >>> numbers = held["numbers"]
        >>> protect(held)
        >>> next(held["numbers"]), next(numbers)
        (1, 1)
    """
    held: Iterable[tuple[Any, Any]]
    put: Callable[[Any, Any], object]
    if isinstance(thing, dict) and size_of(thing) <= LONG:
        held, put = dict.items(thing), functools.partial(dict.__setitem__, thing)
    elif isinstance(thing, list) and size_of(thing) <= LONG:
        held, put = enumerate(items_of(thing)), functools.partial(list.__setitem__, thing)
    elif isinstance(thing, type):
        held, put = data_of(thing).items(), functools.partial(setattr, thing)
    elif isinstance(thing, GlobalName | types.CellType):
        variable = variable_of(thing)
        held, put = [("", variable.read())], lambda _, value: variable.write(value)
    else:
        return
    exchanged = [(place, make(value)) for place, value in held if (make := _maker_for(type(value)))]
    for place, value in exchanged:
        put(place, value)


_makers: dict[type, Callable[[Any], Any] | None] = {}


def _maker_for(kind: type) -> Callable[[Any], Any] | None:
    """What makes the substitute of a thing of a class; None where it needs none."""
    if kind not in _makers:
        _makers[kind] = _find_maker(kind)
    return _makers[kind]


def _find_maker(kind: type) -> Callable[[Any], Any] | None:
    if runs_dry(kind):
        return _as_fresh
    if is_queue(kind):
        return lambda _: Drain(f"a {kind.__name__}, which other threads may be at work on")
    return _as_log if issubclass(kind, io.IOBase) else None


def _as_log(file: Any) -> Any:
    if not _only_takes(file):
        return file
    return io.StringIO() if isinstance(file, io.TextIOBase) else io.BytesIO()


def _only_takes(file: io.IOBase) -> bool:
    """Whether a file, not the terminal, is written and never read: a log."""
    shown = sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__
    try:
        return not any(file is one for one in shown) and file.writable() and not file.readable()
    except Exception:
        return False  # closed


def _as_fresh(iterator: Any) -> Any:
    # The copy of one that runs through other iterators would share them.
    if type(iterator).__name__ not in _OVER_A_SEQUENCE:
        return StandIn(f"a {type(iterator).__name__}, which cannot be wound back")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return copy.copy(iterator)


_OVER_A_SEQUENCE = ("list_iterator", "tuple_iterator", "range_iterator", "longrange_iterator", "count")
