"""How much of a forward pass lives at once: all that its functions take and put out."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode

from foldmon.torch_internals import unseen


class Footprint(TorchFunctionMode):
    """Follows, within ``with`` blocks, the memory of every tensor that a torch function takes or puts out.

    What kernels and TorchScript modules take for themselves while they run is not seen.

    Args:
        known: tensors that do not count, such as weights.

    Attributes:
        peak: most bytes that lived at once so far.

    Example:
        >>> import torch
        >>> from foldmon.folding.model.footprint import Footprint
        >>> with Footprint() as footprint:
        ...     x = torch.zeros(100)
        ...     for _ in range(5):
        ...         x = x + 1
        >>> footprint.peak
        800
    """

    def __init__(self, known: Iterable[Tensor] = ()) -> None:
        super().__init__()
        self.peak = self._live = 0
        self._alive: dict[int, weakref.ref[Any]] = {}
        for tensor in known:
            self._add(tensor)
        self.peak = self._live = 0

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        with unseen():
            self._add_all((args, kwargs))
        result = func(*args, **(kwargs or {}))
        with unseen():
            self._add_all(result)
        return result

    def _add_all(self, tree: Any) -> None:
        if isinstance(tree, Tensor):
            self._add(tree)
        elif isinstance(tree, tuple | list | dict):
            for item in tree.values() if isinstance(tree, dict) else tree:
                self._add_all(item)

    def _add(self, tensor: Tensor) -> None:
        try:
            storage = tensor.untyped_storage()
            key, size = storage.data_ptr(), storage.nbytes()
        except Exception:
            return  # sparse, or it stands for many under torch.vmap
        # A storage's object in Python lives as long as its memory.
        if not size or key in self._alive:
            return

        def free(_: Any) -> None:
            self._live -= size
            del self._alive[key]

        self._alive[key] = weakref.ref(storage, free)
        self._live += size
        self.peak = max(self.peak, self._live)
