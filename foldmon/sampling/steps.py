"""Counting training steps without being told the optimizer."""

from __future__ import annotations

import gc
import logging
import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.optim.optimizer import Optimizer, register_optimizer_step_post_hook
from torch.utils.hooks import RemovableHandle

# So many steps of another owning optimizer without one of the counted mean that training moved on to it.
_PATIENCE = 16


class StepCounter:
    """Calls ``on_step`` in the training thread after each training step of a model.

    A step is a step of the optimizer that owns parameters of the model: the one passed, or the first that
    is seen to step, through torch's global hook, so that nothing of the user's is changed. Where no living
    optimizer owns any, a hook on the root module counts training-mode forward passes until one is seen.

    Args:
        model: the user's model, as it is called in training (a wrapper too).
        on_step: called with no arguments; it must not raise.
        optimizer: whose steps to count; None finds it.
    """

    def __init__(
        self, model: nn.Module, on_step: Callable[[], None], optimizer: Optimizer | None = None
    ) -> None:
        self._model = weakref.ref(model)
        self._on_step = on_step
        self._owner: weakref.ref[Optimizer] | None = None
        self._strangers: weakref.WeakSet[Optimizer] = weakref.WeakSet()
        self._counted_forward = False
        self._idle = 0  # steps of other owning optimizers since the owner's last
        self._root: RemovableHandle | None = None
        found = _innermost(optimizer) if optimizer is not None else _living_owner(model)
        if found is not None:
            self._owner = weakref.ref(found)
        else:
            self._root = model.register_forward_pre_hook(CountForwards(self))
        self._handle = register_optimizer_step_post_hook(_Relay(self))

    def close(self) -> None:
        """Stop counting and take every hook away."""
        self._handle.remove()
        self._remove_root_hook()

    def stepped(self, optimizer: Optimizer) -> None:
        """Some optimizer of this process has stepped."""
        owner = self._owner() if self._owner is not None else None
        if owner is not optimizer:
            if not self._owns(optimizer):
                return
            self._idle += 1
            if owner is not None and self._idle <= _PATIENCE:
                return
            self._owner = weakref.ref(optimizer)
            self._remove_root_hook()
        self._idle = 0
        # The forward pass of an optimizer's first step was counted already, before it was known.
        counted, self._counted_forward = self._counted_forward, False
        if not counted:
            self._on_step()

    def forwarded(self, module: nn.Module) -> None:
        """The root module is called, and no optimizer has been seen yet."""
        if module.training and torch.is_grad_enabled():
            self._counted_forward = True
            self._on_step()

    def _owns(self, optimizer: Optimizer) -> bool:
        if optimizer in self._strangers:
            return False
        model = self._model()
        if model is not None and _owns(optimizer, model):
            return True
        self._strangers.add(optimizer)
        return False

    def _remove_root_hook(self) -> None:
        if self._root is not None:
            self._root.remove()
            self._root = None


class _Relay:
    """The global hook; it does not keep the counter, and so the model, alive."""

    def __init__(self, counter: StepCounter) -> None:
        self._counter = weakref.ref(counter)

    def __call__(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        counter = self._counter()
        if counter is not None:
            counter.stepped(optimizer)


class CountForwards:
    """The root hook: counts nothing in compiled code, and copies of it do nothing at all."""

    def __init__(self, counter: StepCounter) -> None:
        self._counter = weakref.ref(counter)

    def __call__(self, module: nn.Module, args: Any) -> None:
        if torch.compiler.is_compiling():
            return
        counter = self._counter()
        if counter is not None and counter._model() is module:
            counter.forwarded(module)

    def __reduce__(self) -> tuple[Any, ...]:
        # A saved or copied model gets a hook of the standard library that takes two arguments and does
        # nothing: the checkpoint loads without foldmon, and a copy never counts.
        return getattr, (logging.NullHandler, "handle")

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return logging.NullHandler.handle


def _innermost(optimizer: Optimizer) -> Optimizer:
    """The optimizer that really steps, behind wrappers of training frameworks."""
    while isinstance(inner := getattr(optimizer, "optimizer", None), Optimizer):
        optimizer = inner
    return optimizer


def _living_owner(model: nn.Module) -> Optimizer | None:
    # A look through all objects: tens of milliseconds, once, for a hook less on the user's model.
    optimizers = [found for found in gc.get_objects() if _is_optimizer(found)]
    owners = [optimizer for optimizer in optimizers if _owns(optimizer, model)]
    return owners[0] if len(owners) == 1 else None


def _is_optimizer(found: object) -> bool:
    # type(), not isinstance(): the latter runs code of proxies and lazy modules.
    return issubclass(type(found), Optimizer)


def _owns(optimizer: Optimizer, model: nn.Module) -> bool:
    parameters = {id(parameter) for parameter in model.parameters()}
    return any(id(p) in parameters for group in optimizer.param_groups for p in group["params"])
