"""Straight lines between paired inputs, in input space or, for tokens, in embedding space."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from foldmon.measure.names import unknown_name
from foldmon.measure.pairs import Pairs
from foldmon.measure.trees import map_tensors, take_rows


class Lines:
    """The paths x(t) = (1 - t) x1 + t x2, evaluated at any rows (path, t).

    Floating-point inputs are interpolated. Integer inputs cannot be: the path runs through the outputs
    of the modules that embed them instead. Masks (boolean, or named so) are united: a position that
    either end attends to is attended to along the whole path; other integer inputs stay the start's.

    Args:
        model: needed to find the embedding modules.
        pairs: the ends.
        device, dtype: where the model's parameters are; floating-point inputs are cast to it.
        at: path of the module whose output is interpolated instead of the inputs; None finds every
            ``nn.Embedding`` that runs, where inputs are integers.

    Raises:
        ValueError: ``at`` names no module (the nearest is suggested).
    """

    def __init__(
        self,
        model: nn.Module,
        pairs: Pairs,
        device: torch.device,
        dtype: torch.dtype | None,
        at: str | None = None,
    ) -> None:
        def place(tensor: Tensor) -> Tensor:
            floating = tensor.is_floating_point() and dtype is not None
            return tensor.detach().to(device, dtype if floating else None)

        self.first = map_tensors(place, pairs.first)
        self.second = map_tensors(place, pairs.second)
        self.has_tokens = self._unite_masks()
        self.embeddings = self._find_embeddings(model, at)
        self._starts: list[Any] = []
        self._ends: list[Any] = []
        self._captured: list[Any] | None = None
        self._expected: int | None = None
        self._rows: tuple[Tensor, Tensor] | None = None
        self._call = 0

    def _unite_masks(self) -> bool:
        """Make masks common to both ends; say whether other integer inputs differ."""
        flat_first, spec = pytree.tree_flatten_with_path(self.first)
        flat_second = pytree.tree_leaves(self.second)
        united, tokens = [], False
        for (path, a), b in zip(flat_first, flat_second, strict=True):
            if isinstance(a, Tensor) and not a.is_floating_point() and not a.is_complex():
                if a.dtype == torch.bool or "mask" in pytree.keystr(path).lower():
                    a = torch.maximum(a.to(torch.int64), b.to(torch.int64)).to(a.dtype)
                else:
                    tokens = tokens or not torch.equal(a, b)
            united.append(a)
        self.first = pytree.tree_unflatten(united, spec)
        return tokens

    def _find_embeddings(self, model: nn.Module, at: str | None) -> list[nn.Module]:
        if at is not None:
            modules = dict(model.named_modules())
            if at not in modules:
                raise ValueError(unknown_name("module in at=", at, modules))
            return [modules[at]]
        if not self.has_tokens:
            return []
        return [m for m in model.modules() if isinstance(m, nn.Embedding | nn.EmbeddingBag)]

    def __len__(self) -> int:
        return next(len(t) for t in pytree.tree_leaves(self.first) if isinstance(t, Tensor))

    def rows(self, paths: Tensor, t: Tensor) -> Any:
        """Model inputs at the given rows.

        Args:
            paths: shape (R,), path of each row.
            t: shape (R,), position of each row, 0 at the start and 1 at the end.
        """
        self._rows = (paths, t)
        self._call = 0
        starts = take_rows(self.first, paths)
        if self.embeddings:
            return starts
        return map_tensors(
            lambda a, second: _between_(a, second[paths], t) if a.is_floating_point() else a,
            starts,
            self.second,
        )

    def hook(self, stack: ExitStack) -> None:
        """Let the embedding modules put out points of the lines until ``stack`` closes."""
        for module in self.embeddings:
            stack.callback(module.register_forward_hook(self._embed).remove)

    def capture(self, run: Any, rows_at_once: int) -> None:
        """Learn what the embedding modules put out for both ends.

        Args:
            run: calls the model with given inputs; the pass is left once all embeddings ran.
            rows_at_once: rows of one call.

        Raises:
            ValueError: the inputs are integers and nothing embeds them.
        """
        if not self.has_tokens and not self.embeddings:
            return
        self._expected = self._count_calls(run)
        if not self._expected:
            raise ValueError(
                "the inputs are integers, which no straight line joins, and no embedding module ran "
                "that could be interpolated instead; name one whose output can be with at="
            )
        size = len(self)
        for ends, inputs in ((self._starts, self.first), (self._ends, self.second)):
            parts: list[list[Any]] = []
            for low in range(0, size, rows_at_once):
                rows = torch.arange(low, min(low + rows_at_once, size))
                parts.append(self._outputs(run, take_rows(inputs, rows)))
            ends[:] = [
                map_tensors(lambda *tensors: torch.cat(tensors), *calls) for calls in zip(*parts, strict=True)
            ]

    def _count_calls(self, run: Any) -> int:
        self._expected = None
        return len(self._outputs(run, take_rows(self.first, torch.zeros(2, dtype=torch.int64))))

    def _outputs(self, run: Any, inputs: Any) -> list[Any]:
        self._captured = []
        try:
            run(inputs)
        except _AllEmbedded:
            pass
        finally:
            captured, self._captured = self._captured, None
        return captured

    def _embed(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        if self._captured is not None:
            self._captured.append(map_tensors(lambda tensor: tensor.detach(), output))
            if len(self._captured) == self._expected:
                raise _AllEmbedded
            return None
        call, self._call = self._call, self._call + 1
        if self._rows is None or call >= len(self._starts):
            return None
        paths, t = self._rows

        def at_rows(own: Tensor, start: Tensor, end: Tensor) -> Tensor:
            # Outputs without the batch dimension (position embeddings) are the same for both ends.
            if not own.is_floating_point() or len(own) != len(paths) or len(start) != len(self):
                return own
            return _between_(start[paths], end[paths], t)

        return map_tensors(at_rows, output, self._starts[call], self._ends[call])


class _AllEmbedded(Exception):
    """Leaves a capturing pass early."""


def _between_(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """(1 - t) a + t b, written over ``a``; exact at both ends."""
    weight = t.to(a.dtype).reshape(-1, *[1] * (a.ndim - 1))
    return a.lerp_(b, weight)
