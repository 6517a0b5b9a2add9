"""The table of activation functions: one row each, whether it is called as a module or as a function.

A unit's *symbol* is the number of thresholds that its pre-activation exceeds strictly (piece 0 lies
below the first threshold). Two inputs are equivalent for a layer when all its symbols agree; for ReLU
these classes are the linear regions ("On Space Folds of ReLU Neural Networks", arXiv 2502.09954,
section 2), for other activations the equivalence classes of arXiv 2503.08502, section 3.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

Thresholds = tuple[float, ...]
"""Sorted cuts of the pre-activation axis, in units of the pre-activation."""


@dataclass(frozen=True)
class Reading:
    """The values of one activation call that carry symbols.

    Attributes:
        values: pre-activations, or integer symbols where ``thresholds`` is None.
        thresholds: cuts of the pre-activation, None where ``values`` are symbols already.
    """

    values: Tensor
    thresholds: Thresholds | None


def _at(*cuts: float) -> Callable[..., Reading]:
    return lambda z: Reading(z, cuts)


_at_zero = _at(0.0)


def _between(z: Tensor, low: float, high: float) -> Reading:
    return Reading(z, (float(low), float(high)))


def _shrinkage(z: Tensor, width: float) -> Reading:
    # A shrinkage of width 0 is the identity on either side of one cut.
    return Reading(z, (-float(width), float(width)) if width > 0 else (0.0,))


def _gate(z: Tensor, dim: int) -> Reading:
    return Reading(z.chunk(2, int(dim))[1], (0.0,))


def _clamp(z: Tensor, low: Any, high: Any) -> Reading | None:
    """ReLU where the one bound is 0 from below; any other clamp bends without being an activation."""
    is_relu = high is None and isinstance(low, int | float) and low == 0 and z.is_floating_point()
    return Reading(z, (0.0,)) if is_relu else None


@dataclass(frozen=True)
class Activation:
    """A row of the table.

    Attributes:
        name: of the function, where torch has one, as sites are named.
        classes: its module classes; a text is the name of a class of the transformers library, which is
            never imported for it.
        aliases: further names of the function in torch.
        options: what ``read`` needs to know: the names of a call's arguments, in order behind the input,
            with their defaults; a module has them as attributes.
        read: ``read(z, *options)``, what of the pre-activations z carries symbols, None where the call is
            no activation although the same function may be one elsewhere.
        linear_in_pieces: whether it is continuous and linear from each threshold to the next.
    """

    name: str
    classes: tuple[type[nn.Module] | str, ...] = ()
    aliases: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    read: Callable[..., Reading | None] = _at_zero
    linear_in_pieces: bool = False

    def read_module(self, module: nn.Module, z: Tensor) -> Reading | None:
        """What the module, given z, reads."""
        return self.read(z, *(getattr(module, name) for name in self.options))

    def read_call(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Reading | None:
        """What a call of the function with these arguments reads.

        Raises:
            TypeError: the call passes no tensor as its input.
        """
        z = args[0] if args else kwargs.get("input", kwargs.get("self"))
        if not isinstance(z, Tensor):
            raise TypeError("the call passes no tensor as its input")
        given = [
            args[place] if len(args) > place else kwargs.get(name, default)
            for place, (name, default) in enumerate(self.options.items(), start=1)
        ]
        return self.read(z, *given)


_GELUS = (
    "GELUActivation", "NewGELUActivation", "FastGELUActivation", "QuickGELUActivation",
    "AccurateGELUActivation", "GELUTanh", "PytorchGELUTanh",
)  # fmt: skip
_BOUNDS = {"min": None, "max": None}

ACTIVATIONS: tuple[Activation, ...] = (
    Activation("relu", (nn.ReLU,), linear_in_pieces=True),
    Activation("leaky_relu", (nn.LeakyReLU,), linear_in_pieces=True),
    Activation("prelu", (nn.PReLU,), ("_prelu_kernel",), linear_in_pieces=True),
    Activation("rrelu", (nn.RReLU,), linear_in_pieces=True),
    Activation("relu6", (nn.ReLU6,), read=_at(0.0, 6.0), linear_in_pieces=True),
    Activation(
        "hardtanh", (nn.Hardtanh,), (), {"min_val": -1.0, "max_val": 1.0}, _between, linear_in_pieces=True
    ),
    Activation("hardsigmoid", (nn.Hardsigmoid,), read=_at(-3.0, 3.0), linear_in_pieces=True),
    Activation("softshrink", (nn.Softshrink,), (), {"lambd": 0.5}, _shrinkage, linear_in_pieces=True),
    Activation("clamp", (), (), _BOUNDS, _clamp, linear_in_pieces=True),
    Activation("clip", (), (), _BOUNDS, _clamp, linear_in_pieces=True),
    Activation("clamp_min", (), (), _BOUNDS, _clamp, linear_in_pieces=True),
    # These two jump at their thresholds.
    Activation("hardshrink", (nn.Hardshrink,), (), {"lambd": 0.5}, _shrinkage),
    Activation(
        "threshold", (nn.Threshold,), (), {"threshold": 0.0}, lambda z, cut: Reading(z, (float(cut),))
    ),
    Activation("hardswish", (nn.Hardswish,), read=_at(-3.0, 3.0)),
    Activation("glu", (nn.GLU,), (), {"dim": -1}, _gate),
    # Smooth, with the only cut of their equivalence classes at zero.
    Activation("elu", (nn.ELU,)),
    Activation("celu", (nn.CELU,)),
    Activation("selu", (nn.SELU,)),
    Activation("gelu", (nn.GELU, *_GELUS)),
    Activation("silu", (nn.SiLU, "SiLUActivation")),
    Activation("mish", (nn.Mish, "MishActivation")),
    Activation("softplus", (nn.Softplus,)),
    Activation("tanh", (nn.Tanh,)),
    Activation("tanhshrink", (nn.Tanhshrink,)),
    Activation("softsign", (nn.Softsign,)),
    Activation("sigmoid", (nn.Sigmoid,), ("expit",)),
    Activation("logsigmoid", (nn.LogSigmoid,), ("log_sigmoid",)),
    Activation("relu_squared", ("ReLUSquaredActivation",)),
    Activation("xielu", ("XIELUActivation",)),
)
"""Every activation function that foldmon knows without being told."""
