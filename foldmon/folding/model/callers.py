"""The path of a module in a forward pass: of one that blocks share, the path in the block that calls it."""

from __future__ import annotations

from collections import defaultdict

from torch import nn

from foldmon.folding.model.names import without_wrappers


class CallPaths:
    """Names modules by who calls them, within one forward pass after the other.

    Args:
        model: the root, whose path is empty.

    Example:
        >>> from torch import nn
        >>> from foldmon.folding.model.callers import CallPaths
        >>> act = nn.ReLU()
        >>> model = nn.Sequential(nn.Sequential(nn.Linear(2, 2), act), nn.Sequential(nn.Linear(2, 2), act))
        >>> paths = CallPaths(model)
        >>> [paths.enter(model), paths.enter(model[1]), paths.enter(act)]
        ['', '1', '1.1']
    """

    def __init__(self, model: nn.Module) -> None:
        self._first: dict[int, str] = {}
        self._parents: defaultdict[int, list[tuple[int, str]]] = defaultdict(list)
        for path, module in model.named_modules():
            self._first[id(module)] = without_wrappers(path)
            for name, child in module.named_children():
                self._parents[id(child)].append((id(module), without_wrappers(name)))
        self._callers: list[tuple[int, str]] = []

    def enter(self, module: nn.Module) -> str:
        """The module is called now: its path."""
        path = self._path(module)
        self._callers.append((id(module), path))
        return path

    def leave(self) -> None:
        """The module that was entered last has returned."""
        if self._callers:
            self._callers.pop()

    def restart(self) -> None:
        """Forget a pass that raised half-way."""
        self._callers.clear()

    @property
    def place(self) -> str:
        """Path of the module that is being executed, '' for the root."""
        return self._callers[-1][1] if self._callers else ""

    def _path(self, module: nn.Module) -> str:
        first = self._first.get(id(module), "")
        if not self._callers:
            return first
        caller, place = self._callers[-1]
        parents = self._parents[id(module)]
        for parent, name in parents:
            if parent == caller:
                return _join(place, name)
        # Called past its parent, as `self.block.act(x)` is.
        inside = (_join(self._first[parent], name) for parent, name in parents)
        return next((path for path in inside if path.startswith(f"{place}.")), first)


def _join(place: str, name: str) -> str:
    # A wrapper's child has no name of its own.
    return ".".join(part for part in (place, name) if part)
