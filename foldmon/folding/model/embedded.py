"""Straight lines through what the modules put out that embed tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from foldmon.folding.data.trees import map_tensors
from foldmon.folding.model.batch_axis import batch_axis, batch_back, batch_first
from foldmon.folding.model.lines import between, has_between
from foldmon.torch_internals import pytree, unseen

# Rows of the two passes that tell where the batch is in an embedding module's output.
_FEW, _MORE = 2, 3
# Ends that are kept for later passes. Sampling walks a path in passes that follow each other and needs few;
# exact walks come back to all.
_KEPT_BYTES = 64 * 2**20

Run = Callable[[Any], Any]
"""Calls the model with inputs."""


class EmbeddedLines:
    """Puts points of the lines in the place of what embedding modules put out.

    Args:
        modules: the embedding modules, none where the inputs themselves are interpolated.
        paths: P.
        device: of the model.
    """

    def __init__(self, modules: Sequence[nn.Module], paths: int, device: torch.device) -> None:
        self.modules = list(modules)
        # Of every tensor that the modules put out, call by call: the batch dimension, and the values at the
        # ends of some paths, shape (2, paths kept, ...); None where the tensor is the same for all inputs.
        self._axes: list[int | None] = []
        self._ends: list[Tensor | None] = []
        self._slots = torch.full((paths,), -1, device=device)  # where each path is among those kept
        self._captured: list[Tensor] | None = None
        self._calls: int | None = None
        self._rows: tuple[Tensor, Tensor] | None = None
        self._place = 0

    @property
    def understood(self) -> bool:
        """Whether :meth:`understand` has found tensors to interpolate."""
        return any(axis is not None for axis in self._axes)

    def hook(self, stack: ExitStack) -> None:
        """Let the modules put out points of the lines until ``stack`` closes."""
        for module in self.modules:
            stack.callback(module.register_forward_hook(self._embed).remove)

    def understand(self, run: Run, repeated: Callable[[int], Any]) -> bool:
        """Find out where the modules' outputs hold the batch.

        Args:
            run: calls the model.
            repeated: inputs of a number of rows.

        Returns:
            Whether any module ran.
        """
        few, more = (self._outputs(run, repeated(rows)) if self.modules else [] for rows in (_FEW, _MORE))
        self._axes = [batch_axis(a.shape, _FEW, b.shape, _MORE) for a, b in zip(few, more, strict=False)]
        return bool(few)

    def missing(self, paths: Tensor) -> Tensor:
        """Those of the paths, each once, whose ends :meth:`capture` has to learn, shape (M,).

        Where those that are kept leave no room, nothing stays kept, and all of the paths are missing.
        """
        wanted: Tensor = torch.unique(paths)
        missing = wanted[self._slots[wanted] < 0]
        kept = int((self._slots >= 0).sum())
        room = sum(ends.nbytes for ends in self._ends if ends is not None)
        if len(missing) and kept and room * (kept + len(missing)) > _KEPT_BYTES * kept:
            self.forget()
            return wanted
        return missing

    def capture(self, run: Run, inputs: Any, paths: Tensor) -> None:
        """Learn what the modules put out at the ends of paths; the pass is left once all of them ran.

        Args:
            run: calls the model.
            inputs: of 2 M rows, the starts and then the ends.
            paths: shape (M,), that :meth:`missing` gave.
        """
        outputs = self._outputs(run, inputs)
        new = [_by_side(output, axis, len(paths)) for output, axis in zip(outputs, self._axes, strict=False)]
        kept = int((self._slots >= 0).sum())
        self._ends = list(map(_joined, self._ends, new)) if kept else new
        self._slots[paths] = torch.arange(kept, kept + len(paths), device=paths.device)

    def start(self, paths: Tensor, t: Tensor) -> None:
        """The next pass is at these rows."""
        self._rows, self._place = (paths, t), 0

    def forget(self) -> None:
        """Free what :meth:`capture` learnt, which holds for one state of the weights."""
        self._ends = []
        self._slots.fill_(-1)

    def _outputs(self, run: Run, inputs: Any) -> list[Tensor]:
        """All floating-point tensors that the embedding modules put out in one pass."""
        self._captured, calls = [], self._calls
        self._remaining = -1 if calls is None else calls
        try:
            run(inputs)
        except _AllEmbedded:
            pass
        finally:
            captured, self._captured = self._captured, None
        if calls is None:
            self._calls = -1 - self._remaining
        return captured

    def _embed(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        if self._captured is None:
            return None if self._rows is None else map_tensors(self._moved, output)
        leaves = [leaf for leaf in pytree.tree_leaves(output) if _interpolable(leaf)]
        self._captured += [leaf.detach().clone() for leaf in leaves]
        self._remaining -= 1
        if self._remaining == 0:
            raise _AllEmbedded
        return None

    def _moved(self, own: Tensor) -> Tensor:
        """The next tensor of the pass, at the points of the lines."""
        if not _interpolable(own) or self._rows is None:
            return own
        place, self._place = self._place, self._place + 1
        ends = self._ends[place] if place < len(self._ends) else None
        axis = self._axes[place] if place < len(self._axes) else None
        if ends is None or axis is None:
            return own
        paths, t = self._rows
        with unseen():  # it is none of the model's calls
            return batch_back(between(ends[0], ends[1], self._slots[paths], t), axis, own.shape)


class _AllEmbedded(BaseException):
    """Leaves a capturing pass early, past any ``except Exception`` of the model's own."""


def _interpolable(leaf: Any) -> bool:
    return isinstance(leaf, Tensor) and has_between(leaf)


def _by_side(output: Tensor, axis: int | None, paths: int) -> Tensor | None:
    """Starts and ends, shape (2, paths, ...)."""
    rows = None if axis is None else batch_first(output, axis, 2 * paths)
    return None if rows is None else rows.reshape(2, paths, *rows.shape[1:])


def _joined(kept: Tensor | None, more: Tensor | None) -> Tensor | None:
    return None if kept is None or more is None else torch.cat([kept, more], dim=1)
