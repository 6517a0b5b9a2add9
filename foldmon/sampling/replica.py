"""A private copy of the model, on which measuring cannot disturb training."""

from __future__ import annotations

import copy
from collections.abc import Iterable

import torch
from torch import Tensor, nn


class CannotCopyError(RuntimeError):
    """The model cannot be copied, so it can only be measured in place."""


class Replica:
    """An eval-mode copy of a model, brought up to date by one multi-tensor copy.

    Hooks of the user's and of other tools do not travel: they would run in the sampler's thread and feed
    what they feed in training. Hooks of torch itself (weight normalisation, pruning) are part of the
    model's function and do.

    Args:
        model: the user's model, unwrapped. It is only read.

    Attributes:
        module: the copy.
        stripped: number of hooks that were left behind.

    Raises:
        CannotCopyError: ``copy.deepcopy`` fails on the model.
    """

    def __init__(self, model: nn.Module) -> None:
        try:
            with torch.no_grad():
                self.module = copy.deepcopy(model)
        except Exception as error:
            raise CannotCopyError(f"{type(error).__name__}: {error}") from error
        self.stripped = _strip_hooks(self.module.modules())
        for module in self.module.modules():
            module.training = False
        self.module.requires_grad_(False)
        self._signature = _signature(model)
        self._targets = _tensors(self.module)

    def refresh(self, model: nn.Module) -> bool:
        """Copy the model's weights and buffers as they are now.

        Returns:
            False where the model's structure has changed since the copy was made: make a new one.
        """
        sources = _tensors(model)
        if _signature(model) != self._signature or len(sources) != len(self._targets):
            return False
        if sources:
            with torch.no_grad():
                torch._foreach_copy_(self._targets, sources)
        return True


def size_in_bytes(model: nn.Module) -> int:
    """Bytes of all weights and buffers."""
    return sum(tensor.numel() * tensor.element_size() for tensor in _tensors(model))


def _tensors(model: nn.Module) -> list[Tensor]:
    return [*(parameter.detach() for parameter in model.parameters()), *model.buffers()]


def _signature(model: nn.Module) -> list[object]:
    """What must stay the same for a copy of values to be a copy of the model."""
    parts: list[object] = [(name, type(module)) for name, module in model.named_modules()]
    parts += [(t.shape, t.dtype, t.device) for t in _tensors(model)]
    return parts


def _strip_hooks(modules: Iterable[nn.Module]) -> int:
    count = 0
    for module in modules:
        for hooks in (module._forward_pre_hooks, module._forward_hooks):
            for key, hook in list(hooks.items()):
                if not _is_torchs_own(hook):
                    del hooks[key]
                    count += 1
    return count


def _is_torchs_own(hook: object) -> bool:
    home = getattr(hook, "__module__", None) or type(hook).__module__
    return home == "torch" or home.startswith("torch.")
