"""What containers of the user's classes hold, by their built-in base's own means.

A subclass may count or go through itself in another way, or in none: e3nn's irreps refuse ``len``.
"""

from __future__ import annotations

from collections import deque
from typing import Any

_BASES: tuple[type, ...] = (list, tuple, dict, set, frozenset, deque, bytearray)


def size_of(container: Any) -> int:
    """Number of items.

    Example:
        >>> class Silent(tuple):
        ...     def __len__(self):
        ...         raise NotImplementedError
        >>> size_of(Silent("ab")), items_of(Silent("ab"))
        (2, ['a', 'b'])
    """
    size: int = _base_of(container).__len__(container)
    return size


def items_of(container: Any) -> list[Any]:
    """The items; of a dict the values."""
    if isinstance(container, dict):
        return list(dict.values(container))
    return list(_base_of(container).__iter__(container))


def _base_of(container: Any) -> Any:
    return next(base for base in _BASES if isinstance(container, base))
