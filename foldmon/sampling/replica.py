"""A private copy of the model, on which measuring cannot disturb training."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader, Dataset, Sampler

from foldmon.folding.undisturbed.reach import is_leaf, walk
from foldmon.folding.undisturbed.stand_in import StandIn
from foldmon.folding.undisturbed.tensors import LARGE, address
from foldmon.sampling.links import OtherStructureError
from foldmon.sampling.mirror import CannotCopyError, Mirror
from foldmon.torch_internals import HOOKS, global_hooks, version_of

_SHOWN = 160  # characters of an error's text: some hold a whole configuration


class Replica:
    """An eval-mode copy of a model, of which nothing is the model's own.

    Hooks travel that are part of the model's function: torch's (weight normalisation, pruning), those of
    transformers (which collects hidden states by them), and methods of the model's own modules. Others do
    not: they would run in the sampler's thread and feed what they feed in training.

    Args:
        model: the user's model, unwrapped. It is only read.

    Attributes:
        module: the copy.
        stripped: number of forward hooks that were left behind.
        news: whether something has changed at :meth:`refresh` that never had before.

    Raises:
        CannotCopyError: ``copy.deepcopy`` fails on the model, or what it makes is no private copy.
    """

    def __init__(self, model: nn.Module) -> None:
        self.stripped, self.news = 0, False
        if global_hooks():
            raise CannotCopyError("hooks run around every module of this process")
        self.module: nn.Module = self._copied(model, {})
        if len([*self.module.modules()]) != len([*model.modules()]):
            raise CannotCopyError("its copy has other submodules than itself")
        self._mirror = Mirror(model, self.module)

    def watch(self, tensors: Iterable[Tensor]) -> None:
        """Tensors that both read: the copy is private for as long as nobody writes to them."""
        self._mirror.watched += [(tensor, version_of(tensor)) for tensor in tensors]

    @property
    def modules(self) -> list[nn.Module]:
        """All modules of the copy, whether registered or not."""
        return self._mirror.modules

    def refresh(self) -> bool:
        """Let the copy follow the model: weights, buffers, attributes, containers, generators.

        Returns:
            False where the model's structure has changed since the copy was made: make a new one.

        Raises:
            CannotCopyError: no copy can be private any more.
        """
        if global_hooks():
            raise CannotCopyError("hooks run around every module of this process")
        try:
            self.news = self._mirror.follow(self._copied)
        except OtherStructureError:
            return False
        return True

    def put_back(self) -> None:
        """Give back what the copy's forward passes have put into it."""
        self._mirror.put_back()

    def _copied(self, value: Any, memo: dict[int, Any]) -> Any:
        """A deep copy, but for what must not or cannot be copied deeply."""
        held = list(walk([value]).values())
        hooks: list[tuple[OrderedDict[Any, Any], OrderedDict[Any, Any]]] = []
        for thing in held:
            if id(thing) in memo:
                continue
            if isinstance(thing, nn.Module):
                hooks += self._without_foreign_hooks(thing, held, memo)
            elif isinstance(thing, Tensor) and not is_leaf(thing):
                memo[id(thing)] = thing.detach().clone()
            elif isinstance(thing, np.ndarray) and thing.nbytes > LARGE:
                memo[id(thing)] = thing.view()
                memo[id(thing)].flags.writeable = False
            elif isinstance(thing, Optimizer | DataLoader | Dataset | Sampler):
                memo[id(thing)] = StandIn(f"its {type(thing).__name__}, which a copy does not have")
        try:
            with torch.no_grad():
                copied = copy.deepcopy(value, memo)
                for empty, own in hooks:
                    empty.update({number: copy.deepcopy(hook, memo) for number, hook in own.items()})
                return copied
        except Exception as error:
            why = (str(error).splitlines() or [""])[0][:_SHOWN]
            raise CannotCopyError(f"it cannot be copied ({type(error).__name__}: {why})") from error

    def _without_foreign_hooks(
        self, module: nn.Module, held: list[Any], memo: dict[int, Any]
    ) -> Iterator[tuple[OrderedDict[Any, Any], OrderedDict[Any, Any]]]:
        """Let the copy of a module's dicts of hooks be empty ones, which are given the model's own later.

        So a foreign hook is not even copied: it may be bound to a tool that cannot be, or must not.
        """
        for name in HOOKS:
            hooks = vars(module).get(name)
            if hooks:
                own = OrderedDict((key, h) for key, h in hooks.items() if _is_models_own(h, held))
                empty = memo[id(hooks)] = OrderedDict()
                self.stripped += (len(hooks) - len(own)) if name.startswith("_forward") else 0
                yield empty, own


def size_in_bytes(model: nn.Module) -> int:
    """Bytes of all weights, buffers, and of tensors and arrays that it holds elsewhere."""
    held = walk([model]).values()
    sizes = {address(x): x.untyped_storage().nbytes() for x in held if isinstance(x, Tensor) and address(x)}
    return sum(sizes.values()) + sum(x.nbytes for x in held if isinstance(x, np.ndarray))


def _is_models_own(hook: object, held: Iterable[Any]) -> bool:
    owner = getattr(hook, "__self__", None)
    if isinstance(owner, nn.Module) and any(owner is thing for thing in held):
        return True
    home = getattr(hook, "__module__", None) or type(hook).__module__
    return home.partition(".")[0] in ("torch", "transformers")
