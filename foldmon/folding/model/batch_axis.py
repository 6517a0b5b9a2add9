"""Where the batch is in a tensor: found from two passes of different sizes, brought to the front."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor


def batch_axis(shape: Sequence[int], rows: int, other_shape: Sequence[int], other_rows: int) -> int | None:
    """The dimension that grows with the number of rows, None where none does.

    Args:
        shape: of a tensor in one pass.
        rows: inputs of that pass.
        other_shape: of the same tensor in a pass of another size.
        other_rows: inputs of that pass.

    Example:
        >>> from foldmon.folding.model.batch_axis import batch_axis
        >>> batch_axis((7, 5, 16), 5, (7, 3, 16), 3), batch_axis((1, 7), 5, (1, 7), 3)
        (1, None)
    """
    if len(shape) != len(other_shape):
        return None
    for axis, (size, other) in enumerate(zip(shape, other_shape, strict=True)):
        if size and size % rows == 0 and size * other_rows == other * rows:
            return axis
    return None


def batch_first(values: Tensor, axis: int, rows: int) -> Tensor | None:
    """Values as (rows, ...), or None where the dimension does not divide into rows.

    They have two dimensions at least: a single value an input is a row of one. A dimension that holds several
    entries a row (a batch folded into one dimension with positions or patches) is taken to hold each row's
    entries side by side.
    """
    if values.ndim <= axis or values.shape[axis] == 0 or values.shape[axis] % rows:
        return None
    if values.shape[axis] != rows:
        values = values.unflatten(axis, (rows, -1))  # type: ignore[no-untyped-call]
    if values.ndim == 1:
        return values.unsqueeze(1)
    return values if axis == 0 else values.movedim(axis, 0)


def batch_back(values: Tensor, axis: int, shape: Sequence[int]) -> Tensor:
    """Undo :func:`batch_first`: values of shape (rows, ...) laid out in ``shape`` again."""
    return values.movedim(0, axis).reshape(tuple(shape))
