"""A private copy of the model, on which measuring cannot disturb training."""

from __future__ import annotations

import copy
import weakref
from collections import OrderedDict
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from foldmon.torch_internals import HOOKS, copy_all, submodules_of, tensors_of

_PLAIN = (bool, int, float, str, type(None))


class CannotCopyError(RuntimeError):
    """The model cannot be copied, so it can only be measured in place."""


class Replica:
    """An eval-mode copy of a model, brought up to date by one multi-tensor copy.

    Hooks of the user's and of other tools do not travel: they would run in the sampler's thread and feed
    what they feed in training. Hooks of torch itself (weight normalisation, pruning) and of transformers
    (which collects hidden states by them) are part of the model's function and do.

    Args:
        model: the user's model, unwrapped. It is only read.

    Attributes:
        module: the copy.
        stripped: number of forward hooks that were left behind.

    Raises:
        CannotCopyError: ``copy.deepcopy`` fails on the model.
    """

    def __init__(self, model: nn.Module) -> None:
        originals = list(model.modules())
        memo, self.stripped = _without_foreign_hooks(originals)
        try:
            with torch.no_grad():
                self.module = copy.deepcopy(model, memo)
        except Exception as error:
            raise CannotCopyError(f"{type(error).__name__}: {error}") from error
        copies = list(self.module.modules())
        if len(copies) != len(originals):
            raise CannotCopyError("its copy has other submodules than itself")
        for module in copies:
            module.training = False
        self.module.requires_grad_(False)
        # Tensors are held, modules are not: they must be free to go, and a monitor ends when they have.
        self._dicts = [tensors for m in originals for tensors in tensors_of(m)]
        self._children = [(weakref.ref(m), _children(m)) for m in originals if _children(m)]
        self._sources = _tensors(model)
        self._targets = _tensors(self.module)
        self._structure = self._structure_now()
        self._attributes = [
            (weakref.ref(original), vars(copied))
            for original, copied in zip(originals, copies, strict=True)
            if not type(original).__module__.startswith("torch.")
        ]

    def refresh(self) -> bool:
        """Copy the model's weights, buffers and plain attributes as they are now.

        Returns:
            False where the model's structure has changed since the copy was made: make a new one.
        """
        if self._structure_now() != self._structure or self._children_changed():
            return False
        with torch.no_grad():
            if self._sources:
                try:
                    copy_all(self._targets, self._sources)
                except RuntimeError:
                    # A buffer that overlaps itself (an expanded view) can be read but not written.
                    return False
            for original, copied in self._attributes:
                if (living := original()) is not None:
                    _copy_attributes(vars(living), copied)
        return True

    def _structure_now(self) -> list[object]:
        """What must stay the same for a copy of values to be a copy of the model."""
        parts: list[object] = [id(value) for d in self._dicts for value in d.values()]
        parts += [(t.shape, t.dtype, t.device) for t in self._sources]
        return parts

    def _children_changed(self) -> bool:
        living = ((reference(), children) for reference, children in self._children)
        return any(m is not None and _children(m) != children for m, children in living)


def _children(module: nn.Module) -> list[int]:
    return [id(child) for child in submodules_of(module).values()]


def size_in_bytes(model: nn.Module) -> int:
    """Bytes of all weights and buffers."""
    return sum(tensor.numel() * tensor.element_size() for tensor in _tensors(model))


def _tensors(model: nn.Module) -> list[Tensor]:
    return [*model.parameters(), *model.buffers()]


def _copy_attributes(original: dict[str, Any], copied: dict[str, Any]) -> None:
    """Numbers, words and tensors that a module keeps as plain attributes: its forward may read them."""
    for name, value in original.items():
        if isinstance(value, Tensor):
            if value.is_leaf:
                copied[name] = value.detach().clone()
        elif type(value) in _PLAIN and name != "training":
            copied[name] = value


def _without_foreign_hooks(modules: Iterable[nn.Module]) -> tuple[dict[int, Any], int]:
    """A memo for ``copy.deepcopy`` that replaces each dict of hooks by those of them that are
    the model's own.

    So a hook is not even copied: it may be bound to a tool that cannot be, or must not.
    """
    memo: dict[int, Any] = {}
    stripped = 0
    for module in modules:
        for name in HOOKS:
            hooks = vars(module).get(name)
            if hooks:
                own = OrderedDict((key, hook) for key, hook in hooks.items() if _is_models_own(hook))
                memo[id(hooks)] = own
                stripped += (len(hooks) - len(own)) if name.startswith("_forward") else 0
    return memo, stripped


def _is_models_own(hook: object) -> bool:
    home = getattr(hook, "__module__", None) or type(hook).__module__
    return home.partition(".")[0] in ("torch", "transformers")
