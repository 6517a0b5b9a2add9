"""Reach the plain module behind wrappers, and run it undisturbed and undisturbing."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any

import torch
from torch import nn

from foldmon.torch_internals import COMPILED_WRAPPER, WRAPPED_BY_COMPILE

# Wrappers by class name (some need a distributed build to import) and the attribute that holds the
# wrapped module.
_WRAPPED = {
    COMPILED_WRAPPER: WRAPPED_BY_COMPILE,
    "DistributedDataParallel": "module",
    "DataParallel": "module",
    "DeepSpeedEngine": "module",
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


def require_module(model: Any) -> None:
    """Raise a TypeError for what is no module, which says where there is one."""
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, got {_described(model)}")


def _described(thing: Any) -> str:
    kind = type(thing).__name__
    if isinstance(thing, type):
        return f"the class {thing.__name__}: pass an instance of it"
    if isinstance(thing, dict | list | tuple):
        return f"a {kind}: watch each module in it by a call of its own"
    held = getattr(thing, "__dict__", {}).items()
    inside = ", ".join(f".{name}" for name, value in held if isinstance(value, nn.Module))
    return f"{kind}: pass the module that it holds ({inside})" if inside else kind


def device_of(model: nn.Module) -> torch.device:
    """Device of the first parameter or buffer; the CPU for a model without any."""
    tensors = chain(model.parameters(), model.buffers())
    return next((tensor.device for tensor in tensors), torch.device("cpu"))


def dtype_of(model: nn.Module) -> torch.dtype | None:
    """Dtype of the first floating-point parameter, None for a model without any.

    Numbers of one byte are how weights are stored; no model takes its inputs so.
    """
    kinds = (p.dtype for p in model.parameters() if p.is_floating_point())
    return next((kind for kind in kinds if kind.itemsize > 1), None)
