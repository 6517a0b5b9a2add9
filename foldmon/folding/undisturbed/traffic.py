"""What a forward pass reads and writes: modules that run, memory of tensors that kernels are given."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook

from foldmon.folding.undisturbed.tensors import KeptTensors, address
from foldmon.torch_internals import Listener, TorchDispatchMode, pytree, run_kernel


class Traffic(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes, within :func:`traffic`, what this thread's forward passes use.

    Memory that is written to is cloned before, where ``tensors`` know of it: what a model changes can be put
    back although it was not known that it would.

    Args:
        tensors: that are kept.

    Attributes:
        read: tensors whose memory was there before the pass, by its address.
        modules: that ran.
    """

    def __init__(self, tensors: KeptTensors) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.read: dict[int, Tensor] = {}
        self.modules: list[nn.Module] = []
        self._tensors = tensors
        self._made: set[int] = set()

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        with contextlib.suppress(Exception):
            self._look(func, args, kwargs)
        made = run_kernel(func, args, kwargs)
        with contextlib.suppress(Exception):
            places = {address(leaf) for leaf in pytree.tree_leaves(made) if isinstance(leaf, Tensor)}
            self._made |= places - self.read.keys()
        return made

    def _look(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        for leaf in pytree.tree_leaves((args, kwargs)):
            if isinstance(leaf, Tensor) and (place := address(leaf)) not in self._made:
                self.read.setdefault(place, leaf.detach())
        for place_of, argument in enumerate(func._schema.arguments):
            if argument.alias_info is not None and argument.alias_info.is_write:
                given = kwargs.get(argument.name, args[place_of] if place_of < len(args) else None)
                for leaf in pytree.tree_leaves(given):
                    if isinstance(leaf, Tensor) and address(leaf) not in self._made:
                        self._tensors.before_write(address(leaf))


class _Note(Listener):
    """Appends the modules that this thread runs to a list."""

    def __init__(self, modules: list[nn.Module]) -> None:
        self._modules, self._thread = modules, threading.get_ident()

    def __call__(self, module: nn.Module, args: Any) -> None:
        if threading.get_ident() == self._thread:
            self._modules.append(module)


@contextmanager
def traffic(tensors: KeptTensors) -> Iterator[Traffic]:
    """Note what the passes of this thread use until the end of the block."""
    noted = Traffic(tensors)
    handle = register_module_forward_pre_hook(_Note(noted.modules))
    try:
        with noted:
            yield noted
    finally:
        handle.remove()
