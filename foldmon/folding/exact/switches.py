"""Where a selection (max-pooling) switches from one candidate to another, along straight segments.

Between two neighbouring points the candidates of a window are straight lines, and what is selected is their
upper envelope. All its kinks follow from the values at both points: none has to be searched by evaluations.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from foldmon.folding.results.statistics import Floats, Ints

Select = Callable[[Tensor], Tensor]
"""From values (R, channels, ...) to the index that each window selects in its channel's flattened values."""

_VALUES_AT_ONCE = 2**22


def switches(select: Select, a: Tensor, b: Tensor, shape: torch.Size) -> tuple[Ints, Floats]:
    """All kinks of what is selected, but for those that rounding alone may have made.

    A window that selects one index at both ends selects it all along, because an envelope of lines is convex.

    Args:
        select: see :data:`Select`.
        a: shape (S, N), the values of one input, flattened, at the segments' starts.
        b: shape (S, N), the same at their ends.
        shape: of the values of one input, channels first.

    Returns:
        Segments and shares of the segment, both of shape (K,), in no special order.
    """
    first, second = (_flat_index(select, values, shape) for values in (a, b))
    segment, window = torch.nonzero(first != second, as_tuple=True)
    pending = torch.stack([segment, window, first[segment, window], second[segment, window]])
    scale = torch.maximum(a.abs().amax(1), b.abs().amax(1)).double()
    noise = 16 * torch.finfo(a.dtype).eps * scale
    # What the windows select at both ends: the chord that the envelope lies below.
    chord = tuple(v.double().gather(1, index) for v, index in ((a, first), (b, second)))
    segments, shares = [segment[:0]], [scale[:0]]
    at_once = max(1, _VALUES_AT_ONCE // a.shape[1])
    while pending.shape[1]:
        now, pending = pending[:, :at_once], pending[:, at_once:]
        segment, window, i, j = now
        start, end = a[segment].double(), b[segment].double()
        share = _meeting(start, end, i, j)
        values = torch.lerp(start, end, share[:, None])
        height = values.gather(1, i[:, None])[:, 0]
        k = _flat_index(select, values, shape).gather(1, window[:, None])[:, 0]
        above = values.gather(1, k[:, None])[:, 0] > height + noise[segment]
        gap = torch.lerp(chord[0][segment, window], chord[1][segment, window], share) - height
        kink = ~above & (gap > noise[segment])
        segments.append(segment[kink])
        shares.append(share[kink])
        # A third candidate lies above the meeting of two: its meetings with either are looked at instead.
        left, right = now[:, above], now[:, above]
        left[3] = right[2] = k[above]
        pending = torch.cat([left, right, pending], dim=1)
    return torch.cat(segments).cpu().numpy(), torch.cat(shares).cpu().numpy()


def _meeting(start: Tensor, end: Tensor, i: Tensor, j: Tensor) -> Tensor:
    """Share at which candidate j passes i; shape (K,). NaN where they are one line."""
    at_start, at_end = (v.gather(1, i[:, None]) - v.gather(1, j[:, None]) for v in (start, end))
    return (at_start / (at_start - at_end))[:, 0].clamp(0.0, 1.0)


def _flat_index(select: Select, values: Tensor, shape: torch.Size) -> Tensor:
    """Index that each window selects among all values of its input; shape (R, windows of all channels)."""
    chosen = select(values.reshape(-1, *shape)).reshape(len(values), shape[0], -1)
    channel = shape.numel() // shape[0]
    offset = channel * torch.arange(shape[0], device=values.device)
    return (chosen + offset[None, :, None]).flatten(1)
