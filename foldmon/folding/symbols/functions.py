"""Torch's functions by name: those that bend, sort or hide activations without being one."""

from __future__ import annotations

import re
import types
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


def known_as(names: Iterable[str]) -> dict[Callable[..., Any], str]:
    """Every function of torch's that goes by one of the names, as an operator (``__add__``) too."""
    bare = tuple(names)
    operators = spelled([f"__{name}__" for name in bare], (Tensor,))
    return {f: name.strip("_") for f, name in operators.items()} | spelled(
        bare, (*HOMES, torch_internals.SWITCHES)
    )


ATTRIBUTES: frozenset[Any] = frozenset(
    found.__get__
    for cls in Tensor.__mro__
    for found in vars(cls).values()
    if isinstance(found, types.GetSetDescriptorType | property)
)
"""What reads an attribute of a tensor (``x.shape``, ``x.T``)."""

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

_DRAWS = (
    "bernoulli", "binomial", "multinomial", "normal", "poisson", "rand", "rand_like", "randint",
    "randint_like", "randn", "randn_like", "randperm", "cauchy", "exponential", "geometric", "log_normal",
    "random", "uniform", "gumbel_softmax",
)  # fmt: skip
_DROPOUTS = (
    "dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_dropout",
    "feature_alpha_dropout", "rrelu",
)  # fmt: skip

DRAWS: Mapping[Callable[..., Any], str] = spelled((*_DRAWS, *_DROPOUTS, "scaled_dot_product_attention"))
"""Functions that may draw random numbers."""


def draws(function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
    """Whether a call of one of :data:`DRAWS` draws from a generator that the whole process shares."""
    name = DRAWS[function]
    if name == "scaled_dot_product_attention":
        return bool(kwargs.get("dropout_p", args[4] if len(args) > 4 else 0.0))
    if name in _DROPOUTS:
        place = 3 if name == "rrelu" else 2
        # torch.dropout has no default here, torch.nn.functional's trains
        training = kwargs.get(
            "training", kwargs.get("train", args[place] if len(args) > place else name != "rrelu")
        )
        return bool(training) and kwargs.get("p", args[1] if len(args) > 1 else 0.5) != 0
    return kwargs.get("generator") is None


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
