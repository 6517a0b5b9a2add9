"""Values that hold arrays: equal where their contents are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np
from torch import Tensor


class ByContent:
    """Equality and a hash by content, for dataclasses that leave both to it (``eq=False``).

    Arrays and tensors are equal where dtype, shape and all elements are, NaN equal to NaN; on which
    device a tensor lies does not matter. The hash reads no elements: values that differ in these alone
    share it. As with any hash, the value must not be changed while a set or dict holds it.

    Example:
        >>> import foldmon, torch
        >>> ends = torch.zeros(2, 3), torch.ones(2, 3)
        >>> foldmon.Pairs(*ends) == foldmon.Pairs(*ends), len({foldmon.Pairs(*ends), foldmon.Pairs(*ends)})
        (True, 1)
    """

    def __eq__(self, other: object) -> bool:
        return same(_content(self), _content(other)) if type(self) is type(other) else NotImplemented

    def __hash__(self) -> int:
        return hash((type(self), _outline(_content(self))))


def _content(value: Any) -> tuple[Any, ...]:
    return tuple(getattr(value, field.name) for field in fields(value))


def same(a: Any, b: Any) -> bool:
    """Whether two trees of tuples, lists, mappings, arrays, tensors and plain values hold the same."""
    for kind in (Tensor, np.ndarray):
        if isinstance(a, kind):
            return isinstance(b, kind) and a.dtype == b.dtype and a.shape == b.shape and _same_elements(a, b)
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(same(value, b[key]) for key, value in a.items())
    if isinstance(a, tuple | list):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    return a is b or bool(a == b) or bool(a != a and b != b)


def _same_elements(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor):
        b = b.to(a.device)
    return a is b or bool(((a == b) | ((a != a) & (b != b))).all())


def _outline(tree: Any) -> Any:
    """What equal trees have in common and Python can hash; NaN, whose hash is its place, stands for None."""
    if isinstance(tree, Tensor | np.ndarray):
        return tuple(tree.shape)
    if isinstance(tree, Mapping):
        return frozenset((key, _outline(value)) for key, value in tree.items())
    if isinstance(tree, tuple | list):
        return tuple(map(_outline, tree))
    return None if tree != tree else tree
