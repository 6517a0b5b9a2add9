"""Torch's functions by name: those that bend, sort or hide activations without being one."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from foldmon import torch_internals
from foldmon.torch_internals import OpOverload, OpOverloadPacket

HOMES = (torch, F, Tensor, torch_internals.NATIVE, torch.special)
"""Where torch keeps its functions."""


def spelled(names: Iterable[str], homes: Iterable[Any] = (torch, F, Tensor)) -> dict[Callable[..., Any], str]:
    """Every callable in ``homes`` that goes by one of the names, in place or not, and that name."""
    found: dict[Callable[..., Any], str] = {}
    for name in names:
        for home in homes:
            for candidate in (name, name + "_"):
                function = getattr(home, candidate, None)
                if callable(function):
                    found[function] = name
    return found


_SELECTIONS = (
    "maximum", "minimum", "max", "min", "amax", "amin", "clamp", "clip", "clamp_min", "clamp_max",
    "abs", "where", "sign", "heaviside", "max_pool1d", "max_pool2d", "max_pool3d",
    "adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d", "topk", "sort",
)  # fmt: skip
# A comparison of activations is how masks are made: `x * (x > 0)`, `x.masked_fill(x < 0, 0)`.
_COMPARISONS = ("gt", "ge", "lt", "le", "greater", "greater_equal", "less", "less_equal")
# Activation functions written out. Not exp, pow and their like: every norm and every softmax calls them.
_CURVES = ("sin", "sinc", "atan", "arctan", "erf", "arcsinh", "asinh")


SELECTIONS: Mapping[Callable[..., Any], str] = spelled(_SELECTIONS)
"""Functions that bend or select without being an activation: seen, named, never guessed at."""

KINKS: Mapping[Callable[..., Any], str] = {**SELECTIONS, **spelled((*_COMPARISONS, *_CURVES))}
"""All that is named where it works on activations: selections, comparisons and written-out curves."""

SORTS = frozenset({torch.sort, torch.argsort, Tensor.sort, Tensor.argsort})

FUSED: Mapping[Callable[..., Any], str] = spelled(
    ("lstm", "gru", "rnn_tanh", "rnn_relu", "lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell"),
    (torch, torch_internals.FUSED),
)
"""Recurrent kernels whose gates no hook can see."""


# Activation functions of torch.ao, on quantized numbers what they are on others.
_QUANTIZED = ("relu6", "hardswish", "leaky_relu", "elu", "celu", "prelu", "sigmoid", "tanh")
_FUSED_ACTIVATION = re.compile(r"quantized\.(\w+_(?:leaky_)?(?:relu|tanh)(?:_dynamic\w*)?)(?:\.|$)")


def fused_activation(function: Callable[..., Any]) -> str | None:
    """Name of a kernel of torch.ao that ends in a ReLU, a leaky one or a tanh, whose input no hook can see.

    What it puts out is above zero where that input is.

    Example:
        >>> import torch
        >>> from foldmon.folding.symbols.functions import fused_activation
        >>> fused_activation(torch.ops.quantized.conv2d_relu), fused_activation(torch.ops.quantized.conv2d)
        ('conv2d_relu', None)
    """
    return _fused(function) if isinstance(function, OpOverload | OpOverloadPacket) else None


@cache
def _fused(operator: OpOverload | OpOverloadPacket) -> str | None:
    found = _FUSED_ACTIVATION.match(str(operator))
    return None if found is None else found[1]


def as_function(function: Callable[..., Any]) -> Callable[..., Any]:
    """The torch function that an aten operator is; what is no operator stays what it is.

    Programs that ``torch.export`` wrote call operators (``torch.ops.aten.relu.default``) throughout.
    """
    return _function_of(function) if isinstance(function, OpOverload | OpOverloadPacket) else function


@cache
def _function_of(operator: OpOverload | OpOverloadPacket) -> Callable[..., Any]:
    library, name = str(operator).split(".")[:2]
    known = library == "aten" or (library == "quantized" and name in _QUANTIZED)
    homes: tuple[Any, ...] = HOMES if known else ()
    return next((found for home in homes if callable(found := getattr(home, name, None))), operator)
