"""The watched model, held weakly, and when it is gone."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator

from torch import nn

from foldmon.folding.model.unwrap import unwrap
from foldmon.torch_internals import own_parameters


class Watched:
    """A model that must be free to go, also where it was passed in a wrapper made for the call.

    It lives while the module itself does. Where that goes, it lives on in the modules that own its
    parameters, while all of them do: ``foldmon.watch(Normalized(net), ...)`` watches as long as ``net`` is.

    Args:
        model: wrappers of torch (``torch.compile``, DistributedDataParallel, DataParallel) are looked
            through.

    Example:
        >>> net = nn.Sequential(nn.Linear(2, 2))
        >>> watched = Watched(nn.Sequential(net, nn.ReLU()))
        >>> watched() is None, watched.gone, len(list(watched.parameters()))
        (True, False, 2)
        >>> del net
        >>> watched.gone
        True
    """

    def __init__(self, model: nn.Module) -> None:
        inner = unwrap(model)
        self.name = type(inner).__name__
        self._root = weakref.ref(inner)
        self._owners = [weakref.ref(module) for module in inner.modules() if own_parameters(module)]

    def __call__(self) -> nn.Module | None:
        """The module itself, while it lives."""
        return self._root()

    @property
    def gone(self) -> bool:
        """Whether nothing trains it any more."""
        return self() is None and not self._living_owners()

    def parameters(self) -> Iterator[nn.Parameter]:
        """All parameters, none where it is gone."""
        root = self()
        if root is not None:
            yield from root.parameters()
        else:
            for owner in self._living_owners():
                yield from own_parameters(owner)

    def when_gone(self, act: Callable[[], object]) -> None:
        """Call ``act`` once when it is gone; not at the end of the process."""
        root = self()
        if root is not None:
            weakref.finalize(root, self._root_is_gone, act).atexit = False

    def _root_is_gone(self, act: Callable[[], object]) -> None:
        # Here the modules inside still live, if only until the root has let go of them.
        owners = self._living_owners()
        if not owners:
            act()
            return
        finalizers: list[weakref.finalize[..., nn.Module]] = []

        def first() -> None:
            for finalizer in finalizers:
                finalizer.detach()
            act()

        for owner in owners:
            finalizers.append(weakref.finalize(owner, first))
            finalizers[-1].atexit = False

    def _living_owners(self) -> list[nn.Module]:
        """The modules that own parameters; none where one of them is gone."""
        found = [owner for reference in self._owners if (owner := reference()) is not None]
        return found if len(found) == len(self._owners) else []
