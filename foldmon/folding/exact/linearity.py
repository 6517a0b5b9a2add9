"""Which parts of a model keep the pre-activations piecewise linear along a straight line.

A line stays linear through a linear part, and gains breakpoints in an activation function that is linear
in pieces or in a *kink*: a selection outside activation layers (max-pooling, ``maximum``, ``clamp``,
``abs``), whose breakpoints follow from its inputs just as an activation's do. Everything else is taken
for curved until a midpoint shows otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from foldmon.folding.symbols.activations import ACTIVATIONS, Thresholds
from foldmon.folding.symbols.functions import ATTRIBUTES, SELECTIONS, known_as
from foldmon.torch_internals import pytree


class Linearity(IntEnum):
    """What a part of a model makes of a straight line, from the simplest to the least known."""

    LINEAR = 0
    """Pieces whose ends all follow from what the hooks see."""
    HIDDEN = 1
    """Possibly pieces whose ends the hooks do not see: midpoints must be tested."""
    CURVED = 2
    """No pieces."""


@dataclass(frozen=True)
class Kink:
    """A selection's breakpoints.

    Attributes:
        values: shape (R, ...), what bends where it passes a threshold, or what is selected from.
        thresholds: cuts of ``values``, None for a selection.
        select: index, within each channel's flattened values, that each window of ``values`` selects.
    """

    values: Tensor
    thresholds: Thresholds | None
    select: Callable[[Tensor], Tensor] | None = None


_CLASSES = frozenset(cls for row in ACTIVATIONS if row.linear_in_pieces for cls in row.classes)
# In evaluation the module draws no slopes; a call of rrelu may (training=True).
_CALLS = frozenset(row.name for row in ACTIVATIONS if row.linear_in_pieces) - {"rrelu"}
# Linear in all tensors together, or changing no values.
_ALWAYS_LINEAR = known_as(
    (
        "add", "sub", "rsub", "radd", "neg", "sum", "mean", "cat", "concat", "stack", "reshape", "view",
        "flatten", "unflatten", "permute", "transpose", "squeeze", "unsqueeze", "expand", "contiguous",
        "clone", "detach", "chunk", "split", "tensor_split", "narrow", "select", "getitem", "size", "dim",
        "numel", "len", "movedim", "swapaxes", "t", "roll", "flip", "pad", "avg_pool1d",
        "avg_pool2d", "avg_pool3d", "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d",
        "pixel_shuffle", "pixel_unshuffle", "channel_shuffle", "unfold", "fold", "repeat", "tile",
        "is_floating_point", "stride", "type", "float", "double", "to", "unbind", "iter", "iadd", "isub",
        "cumsum", "dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_dropout",
    )
)  # fmt: skip
# Linear in each tensor alone: linear along the path where all but one are weights.
_LINEAR_IN_ONE = known_as(
    (
        "mul", "rmul", "div", "truediv", "matmul", "mm", "bmm", "addmm", "linear", "einsum",
        "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d",
    )
)  # fmt: skip
# What comes out is no part of the line; where it selects, the selecting function is judged.
_NO_FLOATS = known_as(
    (
        "eq", "ne", "gt", "ge", "lt", "le", "arange", "zeros", "ones", "empty", "full",
        "set_grad_enabled", "is_grad_enabled", "is_autocast_enabled",
    )
)  # fmt: skip
_BATCH_NORMS = {F.batch_norm: 1, torch.batch_norm: 3}
"""Place of the running mean among the arguments."""


def linearity_of_site(site: str, modules: Mapping[str, nn.Module]) -> Linearity:
    """What the activation call named ``site`` makes of a line.

    Classes that the user registered are not known to be linear in their pieces: ``HIDDEN``.
    """
    name, _, call = site.rpartition(":")
    name = name if name and call.isdigit() else site
    module = modules.get(name)
    if module is None:
        linear = name.rpartition("/")[2] in _CALLS
        return Linearity.LINEAR if linear else Linearity.CURVED
    if type(module) in _CLASSES:
        return Linearity.LINEAR
    known = type(module).__module__.startswith(("torch.", "transformers."))
    return Linearity.CURVED if known else Linearity.HIDDEN


def linearity_of_call(function: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Linearity:
    """What a torch function call that is no activation makes of a line.

    Functions are known by what they are, not by their names: those of other libraries are not.
    """
    if function in ATTRIBUTES or function is Tensor.lerp_:
        # lerp_ is how embeddings are interpolated along the line itself; a model's own is not expected.
        return Linearity.LINEAR
    name = _ALWAYS_LINEAR.get(function)
    if name is not None:
        if name in ("to", "type") and _loses_digits(args, kwargs):
            return Linearity.CURVED
        is_noise = "dropout" in name and kwargs.get("training", args[2] if len(args) > 2 else True)
        return Linearity.CURVED if is_noise else Linearity.LINEAR
    if function in _BATCH_NORMS:
        place = _BATCH_NORMS[function]
        running = kwargs.get("running_mean", args[place] if len(args) > place else None)
        training = kwargs.get("training", args[5] if len(args) > 5 else False)
        return Linearity.CURVED if training or running is None else Linearity.LINEAR
    name = _LINEAR_IN_ONE.get(function)
    if name is not None:
        return _linear_in_one(name, args, kwargs)
    if function in SELECTIONS:
        return Linearity.HIDDEN
    return Linearity.LINEAR if function in _NO_FLOATS else Linearity.CURVED


def _linear_in_one(name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Linearity:
    if kwargs.get("rounding_mode") is not None:
        return Linearity.CURVED
    tensors = [a for a in pytree.tree_leaves((args, kwargs)) if isinstance(a, Tensor)]
    free = sum(not isinstance(a, nn.Parameter) and a.ndim > 0 for a in tensors)
    divides = name in ("div", "truediv") and isinstance(args[-1], Tensor) and args[-1] is tensors[-1]
    is_weight = len(tensors) < 2 or isinstance(tensors[-1], nn.Parameter)
    return Linearity.LINEAR if free <= 1 and (not divides or is_weight) else Linearity.CURVED


def _loses_digits(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
    """Whether a conversion rounds to whole numbers or to half precision."""
    new = [a.dtype if isinstance(a, Tensor) else a for a in (*args[1:], *kwargs.values())]
    types = [a for a in new if isinstance(a, torch.dtype)]
    return any(not a.is_floating_point or torch.finfo(a).bits < 32 for a in types) or any(
        isinstance(a, str) and "Tensor" in a for a in new
    )


def kink_of_call(function: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Kink | None:
    """The breakpoints of a selection, None where foldmon does not know them."""
    name = SELECTIONS.get(function)
    z = args[0] if args else kwargs.get("input")
    if name is None or not isinstance(z, Tensor) or not z.is_floating_point():
        return None
    if name == "abs":
        return Kink(z, (0.0,))
    if name in ("clamp", "clip", "clamp_min", "clamp_max"):
        return _clamp(name, z, args, kwargs)
    if name in ("maximum", "minimum", "max", "min"):
        other = args[1] if len(args) > 1 else kwargs.get("other")
        if isinstance(other, Tensor) and other.is_floating_point():
            return Kink(z - other, (0.0,))
    return _pool(name, z, args, kwargs)


def _pool(name: str, z: Tensor, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Kink | None:
    if name not in _POOLS:
        return None
    pool, names = _POOLS[name]
    options = dict(zip(names, args[1:], strict=False))
    options |= {key: value for key, value in kwargs.items() if key in names}
    if z.ndim != int(name[-2]) + 2:
        return None
    return Kink(z, None, lambda values: pool(values, **options, return_indices=True)[1])


def _clamp(name: str, z: Tensor, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Kink | None:
    low = kwargs.get("min", args[1] if len(args) > 1 and name != "clamp_max" else None)
    high = kwargs.get("max", args[2] if len(args) > 2 else None)
    if name == "clamp_max":
        high = kwargs.get("max", args[1] if len(args) > 1 else None)
    cuts = [bound for bound in (low, high) if bound is not None]
    if not cuts or not all(isinstance(cut, int | float) for cut in cuts):
        return None
    return Kink(z, tuple(sorted({float(cut) for cut in cuts})))


_WINDOW = ("kernel_size", "stride", "padding", "dilation", "ceil_mode")
_POOLS: dict[str, tuple[Callable[..., Any], tuple[str, ...]]] = {
    "max_pool1d": (F.max_pool1d, _WINDOW),
    "max_pool2d": (F.max_pool2d, _WINDOW),
    "max_pool3d": (F.max_pool3d, _WINDOW),
    "adaptive_max_pool1d": (F.adaptive_max_pool1d, ("output_size",)),
    "adaptive_max_pool2d": (F.adaptive_max_pool2d, ("output_size",)),
    "adaptive_max_pool3d": (F.adaptive_max_pool3d, ("output_size",)),
}


def rounding(dtype: torch.dtype) -> float:
    """Relative distance from linear that rounding alone explains, of the largest value of a layer."""
    return 256 * torch.finfo(dtype).eps
