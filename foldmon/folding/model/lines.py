"""Points on straight lines between tensors."""

from __future__ import annotations

import torch
from torch import Tensor


def between(first: Tensor, second: Tensor, paths: Tensor, t: Tensor) -> Tensor:
    """(1 - t) first + t second at rows (path, t); exact at both ends.

    Args:
        first: shape (P, ...), the starts.
        second: shape (P, ...), the ends.
        paths: shape (R,), path of each row; or (1, C), where every path is wanted at every t.
        t: shape (R,), position of each row; or (n, 1), and rows are the paths at the first t, then those
            at the second.

    Returns:
        Shape (R, ...), R = n C where all are wanted, of the ends' dtype; half-precision ends are joined
        in float32.

    Example:
        >>> import torch
        >>> from foldmon.folding.model.lines import between
        >>> first, second = torch.zeros(2, 1), torch.tensor([[1.0], [8.0]])
        >>> between(first, second, torch.tensor([0, 1, 1]), torch.tensor([0.5, 0.25, 1.0])).flatten().tolist()
        [0.5, 2.0, 8.0]
    """
    # Rows of one path share its ends by broadcasting: nothing is copied but the points themselves.
    if t.ndim == 2:
        heads, shape, shared = paths[0], (len(t), 1), 0
    else:
        run = _run_length(paths)
        heads, shape, shared = paths[::run], (-1, run), 1
    wide = torch.float32 if first.element_size() < 4 else first.dtype
    weight = t.to(wide).reshape(*shape, *[1] * (first.ndim - 1))
    start, end = (ends[heads].to(wide).unsqueeze(shared) for ends in (first, second))
    # Where each row has ends of its own, the copy of its start is room enough.
    join = torch.Tensor.lerp_ if start.shape[:2] == weight.shape[:2] else torch.lerp
    return join(start, end, weight).flatten(0, 1).to(first.dtype)


def _run_length(paths: Tensor) -> int:
    """Length of the stretches of equal entries where all are equally long, else 1."""
    counts = torch.unique_consecutive(paths, return_counts=True)[1]
    run = int(counts[0])
    return run if bool((counts == run).all()) else 1


def has_between(tensor: Tensor) -> bool:
    """Whether there are numbers between two of the tensor's."""
    return tensor.is_floating_point() or tensor.is_complex()
