"""Numbers of any library as Python's own."""

from __future__ import annotations

import contextlib
import operator
from typing import Any


def whole(value: Any) -> int | None:
    """The whole number that a value is, whatever its type; None where it is none.

    NumPy's integers, tensors of one element and floats without a fraction are whole; truth values are not.

    Example:
        >>> import numpy as np
        >>> whole(np.int64(3)), whole(3.0), whole(2.5), whole(True), whole("3"), whole(float("inf"))
        (3, 3, None, None, None, None)
    """
    number = real(value)
    if number is None:
        return None
    with contextlib.suppress(TypeError):
        return operator.index(value)
    return int(number) if number.is_integer() else None


def required_whole(name: str, value: Any) -> int:
    """The whole number that an argument is.

    Raises:
        TypeError: it is none.
    """
    number = whole(value)
    if number is None:
        raise TypeError(f"{name} must be a whole number, got {value!r}")
    return number


def real(value: Any) -> float | None:
    """The number that a value is as a float, whatever its type; None where it is none.

    Example:
        >>> import numpy as np, torch
        >>> real(np.float32(0.5)), real(torch.tensor(2)), real(None), real(np.array([1.0, 2.0])), real(False)
        (0.5, 2.0, None, None, None)
    """
    if isinstance(value, bool | str | bytes) or str(getattr(value, "dtype", "")) in ("bool", "torch.bool"):
        return None
    with contextlib.suppress(TypeError, ValueError, OverflowError, RuntimeError):
        return float(value)
    return None
