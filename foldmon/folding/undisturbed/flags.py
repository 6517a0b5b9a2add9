"""Run a model in eval mode, without gradients and outside autocast, and put its flags back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from foldmon.torch_internals import compiled_call, set_compiled_call, set_wrapped_call, wrapped_call


@contextmanager
def eager_eval(model: nn.Module, device: torch.device) -> Iterator[None]:
    """Run ``model`` eagerly, in eval mode, without gradients and outside autocast; then put all back.

    ``no_grad``, not ``inference_mode``: tensors that a model caches lazily must stay usable in training.
    """
    with eval_flags(model), torch.no_grad(), _autocast_off(device.type):
        yield


@contextmanager
def eval_flags(model: nn.Module) -> Iterator[None]:
    """Run ``model`` eagerly and in eval mode, then put both back; gradients and autocast stay as they are.

    Every submodule gets back its own ``training`` flag, so that frozen BatchNorm stays frozen.
    """
    modules = list(model.modules())
    flags = [module.training for module in modules]
    # Module.compile() leaves its compiled call here; hooks on a compiled call would recompile it.
    compiled: list[tuple[nn.Module, Any]] = [
        (module, call) for module in modules if (call := compiled_call(module)) is not None
    ]
    # So do compiled parts of a model that is not compiled itself: their wrappers call what they wrap.
    wrapped = [(vars(module), call) for module in modules if (call := wrapped_call(module)) is not None]
    try:
        # Not module.eval(), which a user's class may override with side effects; and only where it is
        # needed, since setting an attribute of a module takes longer than a small layer.
        for module in modules:
            if module.training:
                module.training = False
        for module, _ in compiled:
            set_compiled_call(module, None)
        for attributes, _ in wrapped:
            set_wrapped_call(attributes)
        yield
    finally:
        for module, flag in zip(modules, flags, strict=True):
            if module.training is not flag:
                module.training = flag
        _set_flags_of_new_modules(model, {id(module) for module in modules})
        for module, call in compiled:
            set_compiled_call(module, call)
        for attributes, forward in wrapped:
            set_wrapped_call(attributes, forward)


def _set_flags_of_new_modules(model: nn.Module, known: set[int]) -> None:
    """Let modules that the model put in during the pass (BigBird does) train as what holds them does."""
    for parent in model.modules():
        for module in parent.children():
            if id(module) not in known:
                module.training = parent.training


@contextmanager
def _autocast_off(kind: str) -> Iterator[None]:
    available = torch.amp.autocast_mode.is_autocast_available(kind)
    # Leaving an outermost autocast block clears a cache that all threads share.
    if not available or not torch.is_autocast_enabled(kind):
        yield
        return
    with torch.autocast(kind, enabled=False):
        yield
