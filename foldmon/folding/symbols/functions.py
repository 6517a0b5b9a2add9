"""Which torch functions are activation functions, and which bend or select without being one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload, OpOverloadPacket
from torch.nn import functional as F

from foldmon.folding.symbols.activations import (
    AT_ZERO,
    Reading,
    Thresholds,
    gate,
    symmetric,
)

CallReader = Callable[[tuple[Any, ...], Mapping[str, Any]], Reading | None]
"""Reads a call; None where it is no activation, although the same function may be one elsewhere."""


@dataclass(frozen=True)
class FunctionRule:
    """How a functional activation call is named and read."""

    name: str
    read: CallReader


def _argument(args: tuple[Any, ...], kwargs: Mapping[str, Any], place: int, name: str, default: Any) -> Any:
    return args[place] if len(args) > place else kwargs.get(name, default)


def _input(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Tensor:
    z = args[0] if args else kwargs.get("input", kwargs.get("self"))
    if not isinstance(z, Tensor):
        raise TypeError("the call passes no tensor as its input")
    return z


def _cuts(thresholds: Thresholds) -> CallReader:
    return lambda args, kwargs: Reading(_input(args, kwargs), thresholds)


def _hardtanh(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Reading:
    low = _argument(args, kwargs, 1, "min_val", -1.0)
    high = _argument(args, kwargs, 2, "max_val", 1.0)
    return Reading(_input(args, kwargs), (float(low), float(high)))


def _shrink(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Reading:
    return Reading(_input(args, kwargs), symmetric(_argument(args, kwargs, 1, "lambd", 0.5)))


def _threshold(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Reading:
    return Reading(_input(args, kwargs), (float(_argument(args, kwargs, 1, "threshold", 0.0)),))


def _glu(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Reading:
    dim = int(_argument(args, kwargs, 1, "dim", -1))
    return Reading(gate(_input(args, kwargs), dim), AT_ZERO)


def _clamp(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Reading | None:
    """ReLU where the one bound is 0 from below; any other clamp bends without being an activation."""
    z = _input(args, kwargs)
    low, high = _argument(args, kwargs, 1, "min", None), _argument(args, kwargs, 2, "max", None)
    is_relu = high is None and isinstance(low, int | float) and low == 0 and z.is_floating_point()
    return Reading(z, AT_ZERO) if is_relu else None


def _function_rules() -> dict[Callable[..., Any], FunctionRule]:
    """Every callable through which torch reaches an activation function."""
    readers: dict[str, CallReader] = dict.fromkeys(
        ("relu", "leaky_relu", "prelu", "rrelu", "elu", "celu", "selu", "gelu", "silu", "mish",
         "softplus", "tanh", "tanhshrink", "softsign", "sigmoid", "logsigmoid"),
        _cuts(AT_ZERO),
    )  # fmt: skip
    readers |= {
        "relu6": _cuts((0.0, 6.0)),
        "hardsigmoid": _cuts((-3.0, 3.0)),
        "hardswish": _cuts((-3.0, 3.0)),
        "hardtanh": _hardtanh,
        "hardshrink": _shrink,
        "softshrink": _shrink,
        "threshold": _threshold,
        "glu": _glu,
        "clamp": _clamp,
        "clip": _clamp,
        "clamp_min": _clamp,
    }
    rules: dict[Callable[..., Any], FunctionRule] = {}
    homes: Iterable[Any] = (F, torch, Tensor, torch._C._nn, torch.special)
    aliases = {
        "sigmoid": ("sigmoid", "expit"),
        "logsigmoid": ("logsigmoid", "log_sigmoid"),
        "prelu": ("prelu", "_prelu_kernel"),
    }
    for name, read in readers.items():
        for spelling in aliases.get(name, (name,)):
            for home in homes:
                for candidate in (spelling, spelling + "_"):
                    function = getattr(home, candidate, None)
                    if callable(function):
                        rules[function] = FunctionRule(name, read)
    return rules


FUNCTIONS: Mapping[Callable[..., Any], FunctionRule] = _function_rules()

_SELECTIONS = (
    "maximum", "minimum", "max", "min", "amax", "amin", "clamp", "clip", "clamp_min", "clamp_max",
    "abs", "where", "sign", "heaviside", "max_pool1d", "max_pool2d", "max_pool3d",
    "adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d", "topk", "sort",
)  # fmt: skip
# A comparison of activations is how masks are made: `x * (x > 0)`, `x.masked_fill(x < 0, 0)`.
_COMPARISONS = ("gt", "ge", "lt", "le", "greater", "greater_equal", "less", "less_equal")
# Activation functions written out. Not exp, pow and their like: every norm and every softmax calls them.
_CURVES = ("sin", "sinc", "atan", "arctan", "erf", "arcsinh", "asinh")


def _spellings(names: Iterable[str]) -> dict[Callable[..., Any], str]:
    """Every callable of torch's that goes by one of the names, in place or not."""
    found: dict[Callable[..., Any], str] = {}
    for name in names:
        for home in (torch, F, Tensor):
            for candidate in (name, name + "_"):
                function = getattr(home, candidate, None)
                if callable(function):
                    found[function] = name
    return found


SELECTIONS: Mapping[Callable[..., Any], str] = _spellings(_SELECTIONS)
"""Functions that bend or select without being an activation: seen, named, never guessed at."""

KINKS: Mapping[Callable[..., Any], str] = {**SELECTIONS, **_spellings((*_COMPARISONS, *_CURVES))}
"""All that is named where it works on activations: selections, comparisons and written-out curves."""

SORTS = frozenset({torch.sort, torch.argsort, Tensor.sort, Tensor.argsort})

FUSED: Mapping[Callable[..., Any], str] = {
    function: name
    for name in (
        "lstm",
        "gru",
        "rnn_tanh",
        "rnn_relu",
        "lstm_cell",
        "gru_cell",
        "rnn_tanh_cell",
        "rnn_relu_cell",
    )
    for home in (torch, torch._VF)
    if (function := getattr(home, name, None)) is not None
}
"""Recurrent kernels whose gates no hook can see."""


def as_function(function: Callable[..., Any]) -> Callable[..., Any]:
    """The torch function that an aten operator is; what is no operator stays what it is.

    Programs that ``torch.export`` wrote call operators (``torch.ops.aten.relu.default``) throughout.
    """
    return _function_of(function) if isinstance(function, OpOverload | OpOverloadPacket) else function


@cache
def _function_of(operator: OpOverload | OpOverloadPacket) -> Callable[..., Any]:
    library, name = str(operator).split(".")[:2]
    homes: tuple[Any, ...] = (torch, F, Tensor, torch._C._nn) if library == "aten" else ()
    return next((found for home in homes if callable(found := getattr(home, name, None))), operator)
