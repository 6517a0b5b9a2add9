"""Which module or function call is an activation: the table's rows, and the classes of the user's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from foldmon.folding.symbols.activations import ACTIVATIONS, Activation, Reading, Thresholds
from foldmon.folding.symbols.functions import HOMES, spelled

ThresholdsLike = float | Sequence[float] | Callable[[nn.Module], Sequence[float]]
ModuleReader = Callable[[nn.Module, Tensor], Reading | None]


class _SelectedIndex:
    """Marks a pooling class whose code is the index that each window selects."""

    def __repr__(self) -> str:
        return "foldmon.SELECTED_INDEX"


SELECTED_INDEX = _SelectedIndex()
"""Given to :func:`register_activation` for a max-pooling class: the selected index becomes the symbol."""

_by_class: dict[type[nn.Module] | str, ModuleReader] = {
    cls: activation.read_module for activation in ACTIVATIONS for cls in activation.classes
}

FUNCTIONS: Mapping[Callable[..., Any], Activation] = {
    function: activation
    for activation in ACTIVATIONS
    for function in spelled((activation.name, *activation.aliases), HOMES)
}
"""Every callable through which torch reaches an activation function."""


def register_activation(cls: type[nn.Module], thresholds: ThresholdsLike | _SelectedIndex) -> None:
    """Tell foldmon where the pieces of an activation class of yours meet.

    Args:
        cls: the module class; its subclasses are covered too unless registered themselves.
        thresholds: one cut, a sorted sequence of cuts, or a function from the module to such a
            sequence, in units of the pre-activation (the module's first input). For a max-pooling
            class pass ``foldmon.SELECTED_INDEX``: the index that each window selects is the symbol.

    Raises:
        TypeError: ``cls`` is not a subclass of ``torch.nn.Module``.
        ValueError: the thresholds are empty, not finite or not strictly increasing.

    Example:
        >>> import torch, foldmon
        >>> class Square(torch.nn.Module):
        ...     def forward(self, x):
        ...         return x * x
        >>> foldmon.register_activation(Square, 0.0)
        >>> net = torch.nn.Sequential(torch.nn.Linear(2, 8), Square(), torch.nn.Linear(8, 2))
        >>> foldmon.measure(net, (torch.zeros(3, 2), torch.ones(3, 2))).layers
        ('1',)
    """
    if not (isinstance(cls, type) and issubclass(cls, nn.Module)):
        raise TypeError(
            f"register_activation takes a torch.nn.Module class, got {cls!r}; "
            "functional calls of torch.nn.functional are covered without registration"
        )
    if isinstance(thresholds, _SelectedIndex):
        if not issubclass(cls, tuple(_POOLS)):
            raise TypeError(f"SELECTED_INDEX covers MaxPool1d, MaxPool2d and MaxPool3d, not {cls.__name__}")
        _by_class[cls] = _read_selected_index
        return
    if callable(thresholds):
        by_module = thresholds
        _by_class[cls] = lambda module, z: Reading(z, _checked(by_module(module), cls))
        return
    cuts = _checked(thresholds, cls)
    _by_class[cls] = lambda module, z: Reading(z, cuts)


def _checked(thresholds: float | Sequence[float], cls: type) -> Thresholds:
    values = (thresholds,) if isinstance(thresholds, (int, float)) else thresholds
    cuts = tuple(float(value) for value in values)
    finite = all(abs(cut) < float("inf") for cut in cuts)
    if not cuts or not finite or any(b <= a for a, b in pairwise(cuts)):
        raise ValueError(f"thresholds of {cls.__name__} must be finite and strictly increasing, got {cuts}")
    return cuts


def reader_of(module: nn.Module) -> ModuleReader | None:
    """How the symbols of ``module`` are read, or None where it is not a known activation layer."""
    for cls in type(module).__mro__:
        if cls in _by_class:
            return _by_class[cls]
        if cls.__name__ in _by_class and cls.__module__.startswith("transformers."):
            return _by_class[cls.__name__]
    return None


_POOLS: dict[type[nn.Module], Callable[..., Any]] = {
    nn.MaxPool1d: F.max_pool1d,
    nn.MaxPool2d: F.max_pool2d,
    nn.MaxPool3d: F.max_pool3d,
}


def _read_selected_index(module: nn.Module, z: Tensor) -> Reading:
    pool = next(function for cls, function in _POOLS.items() if isinstance(module, cls))
    _, index = pool(
        z, module.kernel_size, module.stride, module.padding, module.dilation,
        ceil_mode=module.ceil_mode, return_indices=True,
    )  # fmt: skip
    return Reading(index, None)
