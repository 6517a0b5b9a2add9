"""Straight lines between paired inputs, in input space or, for tokens, in embedding space."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from foldmon.folding.data.pairs import Pairs
from foldmon.folding.data.trees import map_tensors, take_rows
from foldmon.folding.model.embedded import EmbeddedLines, Run
from foldmon.folding.model.lines import between, has_between
from foldmon.folding.model.names import unknown_name, without_wrappers
from foldmon.torch_internals import pytree


class NoLineError(ValueError):
    """No straight line joins the inputs."""


class StraightPaths:
    """The paths x(t) = (1 - t) x1 + t x2, evaluated at any rows (path, t).

    Floating-point and complex inputs are interpolated. Integer inputs that differ cannot be: the path runs
    through the outputs of the modules that embed them instead, while the inputs themselves stay the start's.
    Where nothing embeds them, bytes (images) are interpolated as numbers, and other integers beside
    floating-point inputs (lengths, indices) stay the start's, which a note says.
    Masks are common to the whole path: a position that either end attends to is attended to. An input
    is a mask where it is boolean or its name ends in "mask"; a boolean one whose name holds "padding"
    marks what is *not* attended to.

    Args:
        model: needed to find the embedding modules.
        pairs: the ends.
        device, dtype: where the model's parameters are; floating-point inputs are cast to it.
        at: path of the module whose output is interpolated instead of the inputs; None finds every
            ``nn.Embedding`` that runs (and what ``get_input_embeddings`` of a Hugging Face model names)
            where inputs are integers.

    Attributes:
        notes: what to know of the inputs, in words.

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
            return tensor.detach().to(device, own_dtype(tensor, dtype))

        self.at = at
        self.notes: list[str] = []
        self._dtype = dtype or torch.get_default_dtype()
        self.first = map_tensors(place, pairs.first)
        self.second = map_tensors(place, pairs.second)
        self.has_tokens = self._unite_masks()
        self.embedded = EmbeddedLines(self._find_embeddings(model), len(self), device)

    def _unite_masks(self) -> bool:
        """Make masks common to both ends; say whether other integer inputs differ."""
        first, spec = pytree.tree_flatten_with_path(self.first)
        second, _ = pytree.tree_flatten(self.second)
        tokens = False
        for place, ((path, a), b) in enumerate(zip(first, second, strict=True)):
            if not isinstance(a, Tensor):
                continue
            name = str(getattr(path[-1], "key", "")).lower() if path else ""
            if a.dtype == torch.bool and "padding" in name:
                first[place] = (path, a & b)
                second[place] = first[place][1]
            elif a.dtype == torch.bool or name.endswith("mask"):
                first[place] = (path, a | b if a.dtype == torch.bool else torch.maximum(a, b))
                second[place] = first[place][1]
            elif not has_between(a):
                tokens = tokens or not torch.equal(a, b)
        self.first = pytree.tree_unflatten([leaf for _, leaf in first], spec)
        self.second = pytree.tree_unflatten(second, spec)
        return tokens

    def _find_embeddings(self, model: nn.Module) -> list[nn.Module]:
        if self.at is not None:
            modules = {without_wrappers(name): module for name, module in model.named_modules()}
            if self.at not in modules:
                raise ValueError(unknown_name("module in at=", self.at, modules))
            return [modules[self.at]]
        if not self.has_tokens:
            return []
        found: list[nn.Module] = [m for m in model.modules() if isinstance(m, nn.Embedding | nn.EmbeddingBag)]
        named = _input_embeddings(model)
        return found if named is None or named in found else [*found, named]

    def __len__(self) -> int:
        return len(next(self.tensors()))

    def tensors(self) -> Iterator[Tensor]:
        """The ends of all paths, as the model takes them."""
        leaves = pytree.tree_leaves((self.first, self.second))
        return (leaf for leaf in leaves if isinstance(leaf, Tensor))

    def rows(self, paths: Tensor, t: Tensor) -> Any:
        """Model inputs at the given rows.

        Args:
            paths: shape (R,), path of each row; or (1, C), see :func:`between`.
            t: shape (R,), position of each row, 0 at the start and 1 at the end; or (n, 1).
        """
        self.embedded.start(paths, t)
        every = paths if t.ndim == 1 else paths.expand(len(t), -1).flatten()
        if self.at is not None:
            return take_rows(self.first, every)

        def at_rows(first: Tensor, second: Tensor) -> Tensor:
            return between(first, second, paths, t) if has_between(first) else first[every]

        return map_tensors(at_rows, self.first, self.second)

    def hook(self, stack: ExitStack) -> None:
        """Let the embedding modules put out points of the lines until ``stack`` closes."""
        self.embedded.hook(stack)

    def capture(self, run: Run, paths: Tensor) -> None:
        """Learn what the embedding modules put out for both ends of paths, before :meth:`rows` of them.

        Args:
            run: calls the model with given inputs; the pass is left once all embeddings ran.
            paths: their numbers, in any shape.

        Raises:
            NoLineError: the inputs are integers and nothing embeds them, or ``at`` did not run.
        """
        lines = self.embedded
        if not lines.modules and not self.has_tokens:
            return
        if not lines.understood:
            ran = lines.understand(run, self._repeated_start)
            if not lines.understood:
                if self.at is None and self._join_without_embeddings():
                    return
                raise NoLineError(self._nothing_to_interpolate(ran))
        missing = lines.missing(paths)
        if len(missing):
            lines.capture(run, self._both_ends(missing), missing)

    def forget(self) -> None:
        """Free what :meth:`capture` learnt, which holds for one state of the weights."""
        self.embedded.forget()

    def _both_ends(self, paths: Tensor) -> Any:
        """Inputs at the starts of paths and then at their ends."""
        return map_tensors(lambda a, b: torch.cat([a[paths], b[paths]]), self.first, self.second)

    def _join_without_embeddings(self) -> bool:
        """Find another line where integers differ and nothing embeds them; False where there is none."""
        ends = list(zip(pytree.tree_leaves(self.first), pytree.tree_leaves(self.second), strict=True))
        tensors = [(a, b) for a, b in ends if isinstance(a, Tensor) and not torch.equal(a, b)]
        if all(a.dtype == torch.uint8 for a, _ in tensors if not has_between(a)):
            self.first, self.second = (
                map_tensors(self._as_numbers, side) for side in (self.first, self.second)
            )
        elif any(has_between(a) for a, _ in tensors):
            self.notes.append(
                "integer inputs that differ between the ends of a path are embedded by no module: "
                "those of its start hold along the whole path"
            )
        else:
            return False
        self.has_tokens, self.embedded.modules = False, []
        return True

    def _as_numbers(self, tensor: Tensor) -> Tensor:
        return tensor.to(self._dtype) if tensor.dtype == torch.uint8 else tensor

    def _repeated_start(self, rows: int) -> Any:
        return take_rows(self.first, torch.zeros(rows, dtype=torch.int64, device="cpu"))

    def _nothing_to_interpolate(self, ran: bool) -> str:
        if self.at is None:
            return (
                "the inputs are integers, which no straight line joins, and no embedding module ran "
                "that could be interpolated instead; name one whose output can be with at=, or pass "
                "floating-point inputs"
            )
        why = "puts out no floating-point tensor that follows the batch size" if ran else "did not run"
        return f"module {self.at!r} in at= {why}; name a module whose output the paths can run through"


def _input_embeddings(model: nn.Module) -> nn.Module | None:
    """What a model of the transformers library names as its embedding of the inputs."""
    try:
        named = model.get_input_embeddings()  # type: ignore[operator]
    except (AttributeError, NotImplementedError, TypeError):
        return None
    return named if isinstance(named, nn.Module) else None


def own_dtype(tensor: Tensor, dtype: torch.dtype | None) -> torch.dtype | None:
    """The type that the model takes the tensor in, None where that is not known to be another."""
    if tensor.is_complex():
        return dtype.to_complex() if dtype in (torch.float32, torch.float64) else None
    return dtype if tensor.is_floating_point() else None
