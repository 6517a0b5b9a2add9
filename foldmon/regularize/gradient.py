"""Autograd functions that hand a gradient computed before to the parameters.

Both pass it through autograd, so that it reaches ``.grad``, gradient hooks and DDP's buckets together
with the loss's own, and is summed with it in the same order.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from foldmon.regularize.probe import GRADIENT_SCALE, Slope

Weight = float | Tensor


def term(slope: Slope, weight: Weight) -> Tensor:
    """The scalar -weight * phi, with its gradient."""
    apply: Any = _Term.apply
    value: Tensor = apply(-weight * slope.phi, -weight, slope.gradients, *slope.parameters)
    return value


def add_gradient(
    outputs: list[Tensor], slope: Slope, weight: Weight, scale: Callable[[], float]
) -> list[Tensor]:
    """Copies of a model's outputs; a backward pass through any of them adds the term's gradient once.

    Args:
        outputs: those that require a gradient.
        slope: of the term.
        weight: of the term.
        scale: asked in the backward pass for the factor on the term.
    """

    def arriving() -> Tensor:
        return torch.full_like(slope.phi, scale())

    apply: Any = _AddGradient.apply
    return list(apply(arriving, -weight, slope.gradients, len(outputs), *outputs, *slope.parameters))


class _Term(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, value: Tensor, factor: Weight, gradients: tuple[Tensor, ...], *parameters: Tensor
    ) -> Tensor:
        ctx.factor, ctx.gradients = factor, gradients
        return value.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        return None, None, None, *_scaled(ctx, gradient)


class _AddGradient(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        arriving: Callable[[], Tensor],
        factor: Weight,
        gradients: tuple[Tensor, ...],
        count: int,
        *tensors: Tensor,
    ) -> tuple[Tensor, ...]:
        ctx.arriving, ctx.factor, ctx.gradients = arriving, factor, gradients
        ctx.set_materialize_grads(False)
        # Copies, not views: a loop may change a model's output in place.
        return tuple(output.clone() for output in tensors[:count])

    @staticmethod
    def backward(ctx: Any, *outputs: Tensor | None) -> tuple[Tensor | None, ...]:
        # Not once_differentiable: a gradient penalty of the user's goes through the outputs twice.
        return None, None, None, None, *outputs, *_scaled(ctx, ctx.arriving())


def _scaled(ctx: Any, arriving: Tensor) -> tuple[Tensor, ...]:
    factor = arriving * ctx.factor / GRADIENT_SCALE
    return tuple(gradient * factor for gradient in ctx.gradients)
