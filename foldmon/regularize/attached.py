"""The hook of an attached regularizer."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from foldmon.folding.model.unwrap import unwrap
from foldmon.regularize.gradient import Weight, add_gradient
from foldmon.regularize.probe import Slope, refuse_reentrant_checkpoint
from foldmon.torch_internals import RemovableHandle, in_backward, pytree

Evaluate = Callable[[Any, Any], tuple[Weight, Slope] | None]


class AttachedHook:
    """Forward hook of the model: computes the term and lets the outputs carry its gradient.

    A copy of the model (to average weights, to save it) gets a hook that does nothing.

    Args:
        model: the model that the training loop calls, or the one inside DDP.
        evaluate: from the model's inputs and labels to the term.
        scale: asked in the backward pass for the factor on the term.
    """

    def __init__(self, model: nn.Module, evaluate: Evaluate, scale: Callable[[], float]) -> None:
        # DDP looks at the outputs of the module inside it for what the backward pass will reach.
        is_ddp = type(model).__name__ == "DistributedDataParallel"
        self.module: nn.Module = model.module if is_ddp else model  # type: ignore[assignment]
        self.evaluate, self.scale = evaluate, scale
        self._run = torch.compiler.disable(self._mark)  # type: ignore[no-untyped-call]

    def register(self) -> RemovableHandle:
        """Hook the model."""
        return self.module.register_forward_hook(self, with_kwargs=True)

    def __call__(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
        """Outputs that carry the gradient, or None to leave them as they are."""
        return self._run(module, args, kwargs, output)

    def _mark(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
        # A checkpoint around the whole model runs it, and its hooks, again during the backward pass.
        if module is not self.module or not module.training or in_backward():
            return None
        if not torch.is_grad_enabled():
            refuse_reentrant_checkpoint()
            return None
        # A checkpoint around the whole model must not keep what the extra pass saves: it is not run again.
        with saved_tensors_hooks(_unchanged, _unchanged):
            evaluated = self.evaluate(_packed(module, args, kwargs), None)
        return None if evaluated is None else self._carrying(output, *evaluated)

    def _carrying(self, output: Any, weight: Weight, slope: Slope) -> Any:
        leaves, spec = pytree.tree_flatten(output)
        places = [i for i, leaf in enumerate(leaves) if isinstance(leaf, Tensor) and leaf.requires_grad]
        if not places:
            raise TypeError(
                f"the model's output, a {type(output).__name__}, holds no tensor that requires a gradient, "
                "so the attached regularizer cannot add its own; add reg(x) to the loss instead"
            )
        marked = add_gradient([leaves[i] for i in places], slope, weight, self.scale)
        for place, leaf in zip(places, marked, strict=True):
            leaves[place] = leaf
        return pytree.tree_unflatten(leaves, spec)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return inert_hook

    def __reduce__(self) -> Any:
        return _get_inert_hook, ()


def inert_hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
    """What copies of a model carry in the place of the hook."""


def _get_inert_hook() -> Any:
    return inert_hook


def _unchanged(saved: Tensor) -> Tensor:
    return saved


def _packed(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Inputs as ``reg(x)`` takes them: a tensor, a tuple, or a dict by the names of the arguments."""
    if not kwargs:
        return args[0] if len(args) == 1 else args
    names = list(inspect.signature(unwrap(module).forward).parameters)
    return dict(zip(names, args, strict=False)) | kwargs
