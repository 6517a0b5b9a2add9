"""Batches that are objects of the user's own: a dataclass, or whatever holds tensors as attributes."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
from torch import Tensor


def fields_of(thing: Any) -> dict[str, Any]:
    """What such an object holds by name; empty where it holds no rows, or is of a kind that is known.

    Example:
        >>> import torch
        >>> from foldmon.folding.data.bundles import fields_of
        >>> class Batch:
        ...     def __init__(self):
        ...         self.text, self.label, self._cache = torch.zeros(4, 7), torch.zeros(4), None
        >>> list(fields_of(Batch())), fields_of(torch.zeros(4, 7))
        (['text', 'label'], {})
    """
    known = isinstance(thing, Tensor | np.ndarray | Mapping | tuple | list | type)
    if known or hasattr(thing, "keys") or hasattr(thing, "to_numpy"):
        return {}
    if is_dataclass(thing):
        found = {field.name: getattr(thing, field.name, None) for field in fields(thing)}
    else:
        found = dict(getattr(thing, "__dict__", {}))
    found = {name: value for name, value in found.items() if not name.startswith("_")}
    return found if any(isinstance(v, Tensor | np.ndarray) and v.ndim for v in found.values()) else {}


class Bundle:
    """Makes such an object for the model, as ``trees.maker_of`` finds it.

    Args:
        like: one of them. Its tensors are not kept.
    """

    def __init__(self, like: Any) -> None:
        self._like = copy.copy(like)
        for name in fields_of(like):
            _put(self._like, name, None)

    def assembled(self, inputs: dict[str, Any]) -> Any:
        """The object that holds these inputs."""
        made = copy.copy(self._like)
        for name, value in inputs.items():
            if isinstance(value, Tensor):
                _put(made, name, value)
        return made

    def read(self, output: Any, inputs: dict[str, Any]) -> Any:
        """The output as it is."""
        return output


def _put(thing: Any, name: str, value: Any) -> None:
    object.__setattr__(thing, name, value)  # a frozen dataclass too
