"""Objects of a class that exist in this process."""

from __future__ import annotations

import gc
from typing import Any


def living(base: type) -> list[Any]:
    """All objects of a class, and of those derived from it.

    Found by what refers to the classes, not among ``gc.get_objects()``: that holds for a moment also tuples
    that other threads are just building, and makes them fail there (SystemError; CPython bpo-15108).

    Example:
        >>> import torch
        >>> from foldmon.sampling.living import living
        >>> optimizer = torch.optim.SGD([torch.zeros(2, requires_grad=True)])
        >>> any(found is optimizer for found in living(torch.optim.Optimizer))
        True
    """
    kinds = [base]
    for kind in kinds:
        derived: list[type] = type.__subclasses__(kind)
        kinds += [one for one in derived if one not in kinds]
    # type(), not isinstance(): the latter runs code of proxies and lazy modules.
    return [found for found in gc.get_referrers(*kinds) if issubclass(type(found), base)]
