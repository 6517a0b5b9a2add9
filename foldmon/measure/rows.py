"""Whether a site's values stand where they are looked for: row by row, in the order of the batch.

Two passes over some of the same rows tell, with other rows between them and in another order. Tokens that
a router sorted by expert, or a batch folded in behind the sequence, do not come out where they went in.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

# Of a dimension that is not the batch a few entries are enough, and keep this from costing memory.
_ENTRIES = 16


def sample_of(values: Tensor) -> Tensor:
    """A few of the values at every place of the dimensions that may hold the batch, as a copy."""
    for axis in range(1 if values.ndim == 2 else 2, values.ndim):
        values = values.narrow(axis, 0, min(_ENTRIES, values.shape[axis]))
    return values.detach().clone()


def put_back(values: Tensor, order: Tensor) -> Tensor:
    """Values that were sorted, in the order that they were in before.

    Args:
        values: shape (N, ...), ``unsorted[order]``.
        order: shape (N,), what sorted them.
    """
    return values[torch.argsort(order)]


def misplaced(rows: Tensor, some: Tensor, order: Sequence[int]) -> str | None:
    """What is wrong with the rows of a pass, None where nothing is.

    Args:
        rows: shape (R, k, ...), k entries of each row, from one pass.
        some: shape (r, k, ...), from a pass over some of these rows.
        order: which rows, length r.

    Returns:
        "moved" where the values are those of the other pass but stand elsewhere, "changed" where they
        are others.

    Example:
        >>> import torch
        >>> from foldmon.measure.rows import misplaced
        >>> rows = torch.tensor([[[1.0], [2.0]], [[3.0], [4.0]], [[7.0], [9.0]]])
        >>> [misplaced(rows, some, (2, 0)) for some in (rows[[2, 0]], rows[[0, 2]], rows[[2, 0]] * 1.5)]
        [None, 'moved', 'changed']
    """
    a, b = (values.float().reshape(len(values), values.shape[1], -1).nan_to_num() for values in (rows, some))
    slack = _slack(a, torch.finfo(rows.dtype).eps)
    apart = (a[list(order)] - b).abs() > slack
    if not bool(apart.any()):
        return None
    strayed = b[apart.any(-1)][:32]
    nearest = torch.cdist(strayed, a.flatten(0, 1)).amin(1)
    return "moved" if bool((nearest <= slack.norm()).all()) else "changed"


def _slack(values: Tensor, eps: float) -> Tensor:
    """What rounding may change from one size of the batch to another, shape (entries,)."""
    largest = values.abs().amax()
    spread = values.amax((0, 1)) - values.amin((0, 1))
    return torch.minimum(0.1 * spread + 16 * eps * largest, max(4096 * eps, 1e-4) * largest)
