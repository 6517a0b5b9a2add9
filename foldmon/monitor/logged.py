"""Numbers of the user's own, gathered from one probe to the next."""

from __future__ import annotations

import math
import threading
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

_AVERAGED = ("loss",)  # since the last probe: a single batch tells little
_AT_ONCE = 256  # single numbers on a device that become one tensor

Value = float | Tensor
"""A number, or a tensor of one number that nobody has read yet."""


class Logged:
    """The latest value of every name; of the training loss, called ``loss``, the mean.

    It is filled in the training thread and emptied in the sampler's. Tensors are read when it is emptied,
    so that the training thread waits for no device.

    Example:
        >>> logged = Logged()
        >>> logged.add({"loss": 1.0, "rate": 0.1})
        >>> logged.add({"loss": 3.0, "rate": 0.2})
        >>> logged.take(), logged.take()
        ({'loss': 2.0, 'rate': 0.2}, {})
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._latest: dict[str, Value] = {}
        self._means: defaultdict[str, _Mean] = defaultdict(_Mean)

    def add(self, values: Mapping[str, Value]) -> None:
        """Take in values as :func:`checked` gives them.

        One that is not finite makes no mean, but stands where it is all there is.
        """
        with self._lock:
            for name, value in values.items():
                if name in _AVERAGED:
                    self._means[name].add(value)
                else:
                    self._latest[name] = value

    def take(self) -> dict[str, float]:
        """What was gathered since the last call."""
        with self._lock:
            means, latest = self._means, self._latest
            self._means, self._latest = defaultdict(_Mean), {}
        found = {name: mean.value() for name, mean in means.items()}
        return found | {name: _finite(float(value)) for name, value in latest.items()}


class _Mean:
    """The mean of numbers, some of which stay on a device until it is asked for."""

    def __init__(self) -> None:
        self._sum, self._count = 0.0, 0
        self._waiting: list[Tensor] = []
        self._stacked: list[Tensor] = []

    def add(self, value: Value) -> None:
        if isinstance(value, Tensor):
            self._waiting.append(value)
            if len(self._waiting) >= _AT_ONCE:
                self._stack()
        elif math.isfinite(value):
            self._sum, self._count = self._sum + value, self._count + 1

    def _stack(self) -> None:
        """As few tensors as there are devices and types: a single number takes a block of memory."""
        kinds: defaultdict[Any, list[Tensor]] = defaultdict(list)
        for value in self._waiting:
            kinds[value.device, value.dtype].append(value)
        self._stacked += [torch.stack(values) for values in kinds.values()]
        self._waiting = []

    def value(self) -> float:
        self._stack()
        for values in self._stacked:
            numbers = values.cpu().double().numpy()
            known = numbers[np.isfinite(numbers)]
            self._sum, self._count = self._sum + float(known.sum()), self._count + len(known)
        return self._sum / self._count if self._count else math.nan


def checked(name: str, value: Any) -> Value:
    """A logged value as a float, or as a tensor of one number, detached.

    The tensor is a copy: the user may go on adding to the one that was logged.

    Raises:
        TypeError: it is no single number.
    """
    if isinstance(value, Tensor):
        # What has no values (on the meta device) or other than real ones could not be read later either.
        if value.numel() != 1 or value.is_complex() or value.is_meta:
            raise TypeError(f"monitor.log takes single numbers; {name} is a tensor {_kind(value)}")
        return value.detach().reshape(()).clone()
    try:
        if isinstance(value, str | bytes):
            raise TypeError("text")
        return _finite(float(value.item() if isinstance(value, np.ndarray) else value))
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"monitor.log takes single numbers; {name} is {value!r}") from error


def _kind(tensor: Tensor) -> str:
    return f"of shape {tuple(tensor.shape)}, {tensor.dtype}, on {tensor.device}"


def _finite(number: float) -> float:
    return number if math.isfinite(number) else math.nan
