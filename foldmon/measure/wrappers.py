"""Reach the plain module behind wrappers, and run it undisturbed and undisturbing."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any, Literal

import torch
from torch import nn
from torch.nn.parameter import is_lazy

# Wrappers by class name (some need a distributed build to import) and the attribute that holds the
# wrapped module.
_WRAPPED = {
    "OptimizedModule": "_orig_mod",
    "DistributedDataParallel": "module",
    "DataParallel": "module",
}


def unwrap(model: nn.Module) -> nn.Module:
    """The module inside ``torch.compile``, DistributedDataParallel and DataParallel wrappers."""
    *_, innermost = wrappers(model)
    return innermost


def wrappers(model: nn.Module) -> Iterator[nn.Module]:
    """The module and what it wraps, from outside in."""
    yield model
    attribute = _WRAPPED.get(type(model).__name__)
    inner = getattr(model, attribute, None) if attribute is not None else None
    if isinstance(inner, nn.Module):
        yield from wrappers(inner)


@contextmanager
def eager_eval(model: nn.Module) -> Iterator[None]:
    """Run ``model`` eagerly, in eval mode, without gradients and outside autocast; then put all back.

    ``no_grad``, not ``inference_mode``: tensors that a model caches lazily must stay usable in training.
    """
    with eval_flags(model), torch.no_grad(), _autocast_off(model):
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
        (module, module._compiled_call_impl)
        for module in modules
        if getattr(module, "_compiled_call_impl", None) is not None
    ]
    # So do compiled parts of a model that is not compiled itself: their wrappers call what they wrap.
    wrapped = [
        (vars(module), vars(module)["forward"])
        for module in modules
        if type(module).__name__ == "OptimizedModule" and "forward" in vars(module)
    ]
    try:
        # Not module.eval(), which a user's class may override with side effects; and only where it is
        # needed, since setting an attribute of a module takes longer than a small layer.
        for module in modules:
            if module.training:
                module.training = False
        for module, _ in compiled:
            module._compiled_call_impl = None
        for attributes, _ in wrapped:
            attributes["forward"] = attributes["_modules"]["_orig_mod"]
        yield
    finally:
        for module, flag in zip(modules, flags, strict=True):
            if module.training is not flag:
                module.training = flag
        _set_flags_of_new_modules(model, {id(module) for module in modules})
        for module, call in compiled:
            module._compiled_call_impl = call
        for attributes, forward in wrapped:
            attributes["forward"] = forward


def _set_flags_of_new_modules(model: nn.Module, known: set[int]) -> None:
    """Let modules that the model put in during the pass (BigBird does) train as what holds them does."""
    for parent in model.modules():
        for module in parent.children():
            if id(module) not in known:
                module.training = parent.training


def require_module(model: Any) -> None:
    """Raise a TypeError for what is no module."""
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}")


@contextmanager
def kept_buffers(model: nn.Module) -> Iterator[None]:
    """Put the model's buffers back at the end of the block: a forward pass may write to them in eval mode.

    Tensors are exchanged, not written to: a backward pass may still need the own ones.
    """
    own = [
        (module._buffers, dict(module._buffers))
        for module in model.modules()
        if module._buffers and not isinstance(module, torch.jit.ScriptModule)
    ]
    copies: dict[int, Any] = {}
    try:
        for buffers, kept in own:
            for name, tensor in kept.items():
                if tensor is not None and not is_lazy(tensor):
                    buffers[name] = copies.setdefault(id(tensor), tensor.detach().clone())
        yield
    finally:
        for buffers, kept in own:
            buffers.clear()
            buffers.update(kept)


@contextmanager
def compiled_functions(stance: Literal["force_eager", "fail_on_recompile"]) -> Iterator[None]:
    """What becomes of functions and methods under ``torch.compile`` in the block; modules run eagerly anyway.

    Left alone, they would be compiled anew for the hooks of every probe, up to the limit from which on
    training runs them uncompiled. The stance is the whole process's: use it in the user's own thread only,
    never in a sampler's.
    """
    set_stance = getattr(torch.compiler, "set_stance", None)  # from torch 2.6 on
    if set_stance is None or "torch._dynamo" not in sys.modules:
        yield  # nothing can have been compiled
        return
    with set_stance(stance):
        yield


@contextmanager
def _autocast_off(model: nn.Module) -> Iterator[None]:
    kind = device_of(model).type
    available = torch.amp.autocast_mode.is_autocast_available(kind)
    # Leaving an outermost autocast block clears a cache that all threads share.
    if not available or not torch.is_autocast_enabled(kind):
        yield
        return
    with torch.autocast(kind, enabled=False):
        yield


def device_of(model: nn.Module) -> torch.device:
    """Device of the first parameter or buffer; the CPU for a model without any."""
    tensors = chain(model.parameters(), model.buffers())
    return next((tensor.device for tensor in tensors), torch.device("cpu"))


def dtype_of(model: nn.Module) -> torch.dtype | None:
    """Dtype of the first floating-point parameter, None for a model without any."""
    return next((p.dtype for p in model.parameters() if p.is_floating_point()), None)
