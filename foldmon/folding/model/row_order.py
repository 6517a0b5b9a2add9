"""Whether a site's values stand where they are looked for: row by row, in the order of the batch.

Two passes over some of the same rows tell, with other rows between them and in another order. Tokens that
a router sorted by expert, or a batch folded in behind the sequence, do not come out where they went in.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Sample = npt.NDArray[np.float32]

# Of a dimension that is not the batch a few entries are enough, and keep this from costing memory.
_ENTRIES = 16


def sample_of(values: Tensor) -> Sample:
    """A few of the values at every place of the dimensions that may hold the batch, as a copy."""
    if values.ndim == 2:
        values = values[:, :_ENTRIES]
    elif values.ndim > 2:
        values = values[:, :, :_ENTRIES]
    if values.ndim > 3:
        values = values[..., :_ENTRIES]
    return np.array(values.detach().float().cpu().numpy())


def put_back(values: Tensor, order: Tensor) -> Tensor:
    """Values that were sorted, in the order that they were in before.

    Args:
        values: shape (N, ...), ``unsorted[order]``.
        order: shape (N,), what sorted them.
    """
    return values[torch.argsort(order)]


def misplaced(rows: Sample, some: Sample, order: Sequence[int], eps: float) -> str | None:
    """What is wrong with the rows of a pass, None where nothing is.

    Args:
        rows: shape (R, k, ...), k entries of each row, from one pass.
        some: shape (r, k, ...), from a pass over some of these rows.
        order: which rows, length r.
        eps: of the type of the values.

    Returns:
        "moved" where the values are those of the other pass but stand elsewhere, "changed" where they
        are others.

    Example:
        >>> import numpy as np
        >>> from foldmon.folding.model.row_order import misplaced
        >>> rows = np.array([[[1.0], [2.0]], [[3.0], [4.0]], [[7.0], [9.0]]])
        >>> passes = rows[[2, 0]], rows[[0, 2]], rows[[2, 0]] * 1.5
        >>> [misplaced(rows, some, (2, 0), 1e-7) for some in passes]
        [None, 'moved', 'changed']
    """
    # Rounding differs with the size of the batch, by far less than what another row's values differ by.
    with np.errstate(invalid="ignore"):  # infinite values
        apart, largest = np.abs(rows[list(order)] - some), np.abs(rows).max(initial=0.0)
    if apart.max(initial=0.0) <= 16 * eps * largest:
        return None  # nearly always, and cheap
    a, b = (np.nan_to_num(x.reshape(*x.shape[:2], -1), posinf=0.0, neginf=0.0) for x in (rows, some))
    largest = np.abs(a).max()
    spread = a.max((0, 1)) - a.min((0, 1))
    slack = np.minimum(0.1 * spread + 16 * eps * largest, max(4096 * eps, 1e-4) * largest)
    off = (np.abs(a[list(order)] - b) > slack).any(-1)
    if not off.any():
        return None
    entries = a.reshape(-1, a.shape[-1])
    nearest = [np.sqrt(((entries - stray) ** 2).sum(1)).min() for stray in b[off][:32]]
    return "moved" if max(nearest) <= np.sqrt((slack**2).sum()) else "changed"
