"""Straight lines between paired inputs, in input space or, for tokens, in embedding space."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from foldmon.folding.data.pairs import Pairs
from foldmon.folding.data.trees import map_tensors, take_rows
from foldmon.folding.model.batch_axis import batch_axis, batch_back, batch_first
from foldmon.folding.model.names import unknown_name
from foldmon.torch_internals import pytree

# Rows of the two passes that tell where the batch is in an embedding module's output.
_FEW, _MORE = 2, 3


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
            return tensor.detach().to(device, _own_dtype(tensor, dtype))

        self.at = at
        self.notes: list[str] = []
        self._dtype = dtype or torch.get_default_dtype()
        self.first = map_tensors(place, pairs.first)
        self.second = map_tensors(place, pairs.second)
        self.has_tokens = self._unite_masks()
        self.embeddings = self._find_embeddings(model)
        # Of every tensor that the embedding modules put out, call by call: the batch dimension, and the
        # values at both ends, batch first; None where the tensor is the same for all inputs.
        self._axes: list[int | None] = []
        self._starts: list[Tensor | None] = []
        self._ends: list[Tensor | None] = []
        self._captured: list[Tensor] | None = None
        self._calls: int | None = None
        self._rows: tuple[Tensor, Tensor] | None = None
        self._place = 0

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
            elif not _has_between(a):
                tokens = tokens or not torch.equal(a, b)
        self.first = pytree.tree_unflatten([leaf for _, leaf in first], spec)
        self.second = pytree.tree_unflatten(second, spec)
        return tokens

    def _find_embeddings(self, model: nn.Module) -> list[nn.Module]:
        if self.at is not None:
            modules = dict(model.named_modules())
            if self.at not in modules:
                raise ValueError(unknown_name("module in at=", self.at, modules))
            return [modules[self.at]]
        if not self.has_tokens:
            return []
        found: list[nn.Module] = [m for m in model.modules() if isinstance(m, nn.Embedding | nn.EmbeddingBag)]
        named = _input_embeddings(model)
        return found if named is None or named in found else [*found, named]

    def __len__(self) -> int:
        return next(len(t) for t in pytree.tree_leaves(self.first) if isinstance(t, Tensor))

    def rows(self, paths: Tensor, t: Tensor) -> Any:
        """Model inputs at the given rows.

        Args:
            paths: shape (R,), path of each row; or (1, C), see :func:`between`.
            t: shape (R,), position of each row, 0 at the start and 1 at the end; or (n, 1).
        """
        self._rows = (paths, t)
        self._place = 0
        every = paths if t.ndim == 1 else paths.expand(len(t), -1).flatten()
        if self.at is not None:
            return take_rows(self.first, every)

        def at_rows(first: Tensor, second: Tensor) -> Tensor:
            return between(first, second, paths, t) if _has_between(first) else first[every]

        return map_tensors(at_rows, self.first, self.second)

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
            ValueError: the inputs are integers and nothing embeds them, or ``at`` did not run.
        """
        if not self.has_tokens and not self.embeddings:
            return
        few, more = (
            self._outputs(run, self._repeated_start(rows)) if self.embeddings else []
            for rows in (_FEW, _MORE)
        )
        self._axes = [batch_axis(a.shape, _FEW, b.shape, _MORE) for a, b in zip(few, more, strict=False)]
        if all(axis is None for axis in self._axes):
            if self.at is None and self._join_without_embeddings():
                return
            raise ValueError(self._nothing_to_interpolate(bool(few)))
        self._starts = self._at_all(run, self.first, rows_at_once)
        self._ends = self._at_all(run, self.second, rows_at_once)

    def forget(self) -> None:
        """Free what :meth:`capture` learnt, which holds for one state of the weights."""
        self._starts, self._ends = [], []

    def _join_without_embeddings(self) -> bool:
        """Find another line where integers differ and nothing embeds them; False where there is none."""
        ends = list(zip(pytree.tree_leaves(self.first), pytree.tree_leaves(self.second), strict=True))
        tensors = [(a, b) for a, b in ends if isinstance(a, Tensor) and not torch.equal(a, b)]
        if all(a.dtype == torch.uint8 for a, _ in tensors if not _has_between(a)):
            self.first, self.second = (
                map_tensors(self._as_numbers, side) for side in (self.first, self.second)
            )
        elif any(_has_between(a) for a, _ in tensors):
            self.notes.append(
                "integer inputs that differ between the ends of a path are embedded by no module: "
                "those of its start hold along the whole path"
            )
        else:
            return False
        self.embeddings = []
        return True

    def _as_numbers(self, tensor: Tensor) -> Tensor:
        return tensor.to(self._dtype) if tensor.dtype == torch.uint8 else tensor

    def _repeated_start(self, rows: int) -> Any:
        return take_rows(self.first, torch.zeros(rows, dtype=torch.int64))

    def _nothing_to_interpolate(self, ran: bool) -> str:
        if self.at is None:
            return (
                "the inputs are integers, which no straight line joins, and no embedding module ran "
                "that could be interpolated instead; name one whose output can be with at=, or pass "
                "floating-point inputs"
            )
        why = "puts out no floating-point tensor that follows the batch size" if ran else "did not run"
        return f"module {self.at!r} in at= {why}; name a module whose output the paths can run through"

    def _at_all(self, run: Any, inputs: Any, rows_at_once: int) -> list[Tensor | None]:
        """What the embedding modules put out for every pair's end, batch first."""
        parts: list[list[Tensor | None]] = []
        for low in range(0, len(self), rows_at_once):
            rows = torch.arange(low, min(low + rows_at_once, len(self)))
            outputs = self._outputs(run, take_rows(inputs, rows))
            parts.append(
                [
                    None if axis is None else batch_first(output, axis, len(rows))
                    for axis, output in zip(self._axes, outputs, strict=False)
                ]
            )
        return [_joined(calls) for calls in zip(*parts, strict=True)]

    def _outputs(self, run: Any, inputs: Any) -> list[Tensor]:
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
        start = self._starts[place] if place < len(self._starts) else None
        end = self._ends[place] if place < len(self._ends) else None
        axis = self._axes[place] if place < len(self._axes) else None
        if start is None or end is None or axis is None:
            return own
        return batch_back(between(start, end, *self._rows), axis, own.shape)


def _input_embeddings(model: nn.Module) -> nn.Module | None:
    """What a model of the transformers library names as its embedding of the inputs."""
    try:
        named = model.get_input_embeddings()  # type: ignore[operator]
    except (AttributeError, NotImplementedError, TypeError):
        return None
    return named if isinstance(named, nn.Module) else None


def _interpolable(leaf: Any) -> bool:
    return isinstance(leaf, Tensor) and _has_between(leaf)


def _has_between(tensor: Tensor) -> bool:
    """Whether there are numbers between two of the tensor's."""
    return tensor.is_floating_point() or tensor.is_complex()


def _own_dtype(tensor: Tensor, dtype: torch.dtype | None) -> torch.dtype | None:
    """The type that the model takes the tensor in, None where that is not known to be another."""
    if tensor.is_complex():
        return dtype.to_complex() if dtype in (torch.float32, torch.float64) else None
    return dtype if tensor.is_floating_point() else None


def _joined(parts: tuple[Tensor | None, ...]) -> Tensor | None:
    tensors = [part for part in parts if part is not None]
    return torch.cat(tensors) if len(tensors) == len(parts) else None


class _AllEmbedded(BaseException):
    """Leaves a capturing pass early, past any ``except Exception`` of the model's own."""


def between(first: Tensor, second: Tensor, paths: Tensor, t: Tensor) -> Tensor:
    """(1 - t) first + t second at rows (path, t); exact at both ends.

    Args:
        first: shape (P, ...), the starts.
        second: shape (P, ...), the ends.
        paths: shape (R,), path of each row; or (1, C), where every path is wanted at every t.
        t: shape (R,), position of each row; or (n, 1), and rows are the paths at the first t, then those
            at the second.

    Returns:
        Shape (R, ...), R = n C where all are wanted, of the ends' dtype; half-precision ends are joined
        in float32.

    Example:
        >>> import torch
        >>> from foldmon.folding.model.paths import between
        >>> first, second = torch.zeros(2, 1), torch.tensor([[1.0], [8.0]])
        >>> between(first, second, torch.tensor([0, 1, 1]), torch.tensor([0.5, 0.25, 1.0])).flatten().tolist()
        [0.5, 2.0, 8.0]
    """
    # Rows of one path share its ends by broadcasting: nothing is copied but the points themselves.
    if t.ndim == 2:
        heads, shape, shared = paths[0], (len(t), 1), 0
    else:
        run = _run_length(paths)
        heads, shape, shared = paths[::run], (-1, run), 1
    wide = torch.float32 if first.element_size() < 4 else first.dtype
    weight = t.to(wide).reshape(*shape, *[1] * (first.ndim - 1))
    start, end = (ends[heads].to(wide).unsqueeze(shared) for ends in (first, second))
    return torch.lerp(start, end, weight).flatten(0, 1).to(first.dtype)


def _run_length(paths: Tensor) -> int:
    """Length of the stretches of equal entries where all are equally long, else 1."""
    counts = torch.unique_consecutive(paths, return_counts=True)[1]
    run = int(counts[0])
    return run if bool((counts == run).all()) else 1
