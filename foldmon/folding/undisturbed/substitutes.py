"""What is put, while a model runs, in the place of what could not be put back afterwards."""

from __future__ import annotations

import copy
import functools
import io
import sys
import types
import warnings
from collections.abc import Callable
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
    held: list[tuple[Callable[[Any], object], Any]]
    if isinstance(thing, dict) and size_of(thing) <= LONG:
        held = [(functools.partial(dict.__setitem__, thing, key), value) for key, value in dict.items(thing)]
    elif isinstance(thing, list) and size_of(thing) <= LONG:
        places = enumerate(items_of(thing))
        held = [(functools.partial(list.__setitem__, thing, place), value) for place, value in places]
    elif isinstance(thing, type):
        held = [(functools.partial(setattr, thing, name), value) for name, value in data_of(thing).items()]
    elif isinstance(thing, GlobalName | types.CellType):
        variable = variable_of(thing)
        held = [(variable.write, variable.read())]
    else:
        return
    for put, value in held:
        if runs_dry(value):
            put(_as_fresh(value))
        elif is_queue(value):
            put(Drain(f"a {type(value).__name__}, which other threads may be at work on"))
        elif isinstance(value, io.IOBase) and _only_takes(value):
            put(io.StringIO() if isinstance(value, io.TextIOBase) else io.BytesIO())


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
