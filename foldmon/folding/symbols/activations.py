"""Which pieces an activation function has, and where its pre-activation is found.

A unit's *symbol* is the number of thresholds that its pre-activation exceeds strictly (piece 0 lies
below the first threshold). Two inputs are equivalent for a layer when all its symbols agree; for ReLU
these classes are the linear regions ("On Space Folds of ReLU Neural Networks", arXiv 2502.09954,
section 2), for other activations the equivalence classes of arXiv 2503.08502, section 3.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

Thresholds = tuple[float, ...]
"""Sorted cuts of the pre-activation axis, in units of the pre-activation."""

ThresholdsLike = float | Sequence[float] | Callable[[nn.Module], Sequence[float]]


class _SelectedIndex:
    """Marks a pooling class whose code is the index that each window selects."""

    def __repr__(self) -> str:
        return "foldmon.SELECTED_INDEX"


SELECTED_INDEX = _SelectedIndex()
"""Given to :func:`register_activation` for a max-pooling class: the selected index becomes the symbol."""


@dataclass(frozen=True)
class Reading:
    """The values of one activation call that carry symbols.

    Attributes:
        values: pre-activations, or integer symbols where ``thresholds`` is None.
        thresholds: cuts of the pre-activation, None where ``values`` are symbols already.
    """

    values: Tensor
    thresholds: Thresholds | None


ModuleReader = Callable[[nn.Module, Tensor], Reading]

AT_ZERO: Thresholds = (0.0,)
_modules: dict[type[nn.Module], ModuleReader] = {}
# Classes of the transformers library, by name so that it is never imported; every one of them is
# smooth or piecewise linear with its only equivalence cut at zero.
_TRANSFORMERS_AT_ZERO = frozenset(
    {
        "GELUActivation", "NewGELUActivation", "FastGELUActivation", "QuickGELUActivation",
        "AccurateGELUActivation", "GELUTanh", "PytorchGELUTanh", "SiLUActivation",
        "MishActivation", "ReLUSquaredActivation", "XIELUActivation",
    }
)  # fmt: skip


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
        _modules[cls] = _read_selected_index
        return
    if callable(thresholds):
        by_module = thresholds
        _modules[cls] = lambda module, z: Reading(z, _checked(by_module(module), cls))
        return
    cuts = _checked(thresholds, cls)
    _modules[cls] = lambda module, z: Reading(z, cuts)


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
        if cls in _modules:
            return _modules[cls]
        if cls.__name__ in _TRANSFORMERS_AT_ZERO and cls.__module__.startswith("transformers."):
            return _read_at_zero
    return None


def _read_at_zero(_: nn.Module, z: Tensor) -> Reading:
    return Reading(z, AT_ZERO)


def _read_gate(module: nn.Module, z: Tensor) -> Reading:
    return Reading(gate(z, int(module.dim)), AT_ZERO)  # type: ignore[arg-type]


def gate(z: Tensor, dim: int) -> Tensor:
    """The half of a gated linear unit's input that carries symbols."""
    return z.chunk(2, dim)[1]


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


def _register_builtin() -> None:
    at_zero: tuple[type[nn.Module], ...] = (
        nn.ReLU, nn.LeakyReLU, nn.PReLU, nn.RReLU, nn.ELU, nn.CELU, nn.SELU, nn.GELU, nn.SiLU,
        nn.Mish, nn.Softplus, nn.Tanh, nn.Tanhshrink, nn.Softsign, nn.Sigmoid, nn.LogSigmoid,
    )  # fmt: skip
    for cls in at_zero:
        _modules[cls] = _read_at_zero
    register_activation(nn.ReLU6, (0.0, 6.0))
    register_activation(nn.Hardtanh, lambda m: (m.min_val, m.max_val))
    register_activation(nn.Hardsigmoid, (-3.0, 3.0))
    register_activation(nn.Hardswish, (-3.0, 3.0))
    register_activation(nn.Hardshrink, lambda m: symmetric(m.lambd))
    register_activation(nn.Softshrink, lambda m: symmetric(m.lambd))
    register_activation(nn.Threshold, lambda m: (m.threshold,))
    _modules[nn.GLU] = _read_gate


def symmetric(width: float) -> Thresholds:
    """The cuts of a shrinkage."""
    # A shrinkage of width 0 is the identity on either side of one cut.
    return (-float(width), float(width)) if width > 0 else AT_ZERO


_register_builtin()
