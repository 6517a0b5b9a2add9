"""The tensors and arrays that a model reaches, kept as they were."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from foldmon.folding.undisturbed.reach import is_leaf
from foldmon.torch_internals import is_lazy, set_version, unseen, values_stored, version_of

LARGE = 16 * 2**20
"""Bytes from which on a tensor that is no buffer, or an array, is not cloned where nothing writes to it."""


class CannotPutBackError(RuntimeError):
    """The model's forward pass wrote to a tensor that was not cloned before."""


_SPARSE = (torch.sparse_coo, torch.sparse_csr, torch.sparse_csc, torch.sparse_bsr, torch.sparse_bsc)


@dataclass
class _State:
    tensor: Tensor
    alias: Tensor  # the memory that the tensor had
    version: int | None
    wishes_grad: bool
    grad: Tensor | None
    values: Tensor | None


class KeptTensors:
    """Saves tensors, and puts back values, memory, version counters, gradients and ``requires_grad``.

    Cloned are buffers, other small tensors that are no parameters, and what :attr:`written` holds; of the
    others (weights, gradients, banks of data) only the counters are known, by which autograd counts how often
    a tensor was written to.

    Args:
        only_buffers: keep nothing else of a model whose weights are moved about in memory (FSDP).

    Attributes:
        written: addresses of memory that forward passes were seen to write to.
    """

    def __init__(self, only_buffers: bool = False) -> None:
        self._only_buffers = only_buffers
        self.written: set[int] = set()
        self._states: list[_State] = []
        self._arrays: list[tuple[Any, Any]] = []
        self._sparse: list[tuple[Tensor, Tensor, int | None]] = []

    def keep(self, things: Iterable[Any], model: nn.Module) -> None:
        """Save all tensors and arrays among some things."""
        things = list(things)
        buffers = {id(buffer) for buffer in model.buffers()}
        tensors = [thing for thing in things if isinstance(thing, Tensor)]
        if self._only_buffers:
            tensors = [tensor for tensor in tensors if id(tensor) in buffers]
        grads = {id(tensor.grad) for tensor in tensors if is_leaf(tensor)}
        self.release()
        with unseen():  # a class of tensors may answer for torch's functions
            for tensor in tensors:
                is_weight = id(tensor) in grads or isinstance(tensor, nn.Parameter)
                self._keep(tensor, id(tensor) in buffers, is_weight)
        for thing in things:
            if isinstance(thing, np.ndarray) and thing.nbytes <= LARGE and thing.flags.writeable:
                self._arrays.append((thing, thing.copy()))

    def _keep(self, tensor: Tensor, always: bool, never: bool) -> None:
        if is_lazy(tensor) or tensor.is_meta or not is_its_memory(tensor):
            return  # its object stays in its place, that is all
        if tensor.layout != torch.strided:
            if tensor.layout in _SPARSE and values_stored(tensor) * tensor.element_size() <= LARGE:
                self._sparse.append((tensor, tensor.detach().clone(), version_of(tensor)))
            return
        size = tensor.numel() * tensor.element_size()
        is_cloned = always or (size <= LARGE and not never) or address(tensor) in self.written
        alias = tensor.detach()
        self._states.append(
            _State(
                tensor,
                alias,
                version_of(tensor),
                tensor.requires_grad,
                tensor.grad if is_leaf(tensor) else None,
                alias.clone() if is_cloned else None,
            )
        )

    def before_write(self, place: int) -> None:
        """Clone what is not cloned yet of the memory at an address, which is about to be written to."""
        for state in self._states:
            if state.values is None and address(state.alias) == place:
                state.values = state.alias.clone()
                self.written.add(place)

    def release(self) -> None:
        """Free what was cloned."""
        self._states, self._arrays, self._sparse = [], [], []

    def put_back(self) -> list[str]:
        """Make all as it was; see :meth:`foldmon.folding.undisturbed.kept.Kept.put_back`."""
        changed: list[str] = []
        lost: list[str] = []
        for state in self._states:
            tensor = state.tensor
            is_moved = version_of(tensor) != state.version
            with torch.no_grad(), unseen():
                if _memory(tensor) != _memory(state.alias):
                    tensor.data = state.alias
                    changed.append("the memory of a tensor")
                if state.values is not None:
                    if not same_bits(state.alias, state.values):
                        state.alias.copy_(state.values)
                        is_moved = True
                elif is_moved:
                    self.written.add(address(state.alias))
                    lost.append(f"{tuple(tensor.shape)}")
            if is_moved and state.version is not None:
                changed.append("a tensor")
                if not lost:
                    set_version(tensor, state.version)
            if is_leaf(tensor) and (
                tensor.requires_grad != state.wishes_grad or tensor.grad is not state.grad
            ):
                changed.append("a gradient or requires_grad")
                tensor.requires_grad_(state.wishes_grad)
                tensor.grad = state.grad
        for tensor, values, version in self._sparse:
            if version is not None and version_of(tensor) != version:
                with torch.no_grad(), unseen():
                    tensor.copy_(values)
                set_version(tensor, version)
                changed.append("a tensor")
        for array, values in self._arrays:
            if array.tobytes() != values.tobytes():
                np.copyto(array, values)
                changed.append("an array")
        if lost:
            raise CannotPutBackError(
                f"its forward pass writes to a tensor of shape {lost[0]}, which could not be put back"
            )
        return changed


_PLAIN = (Tensor, nn.Parameter, nn.Buffer) if hasattr(nn, "Buffer") else (Tensor, nn.Parameter)


def is_its_memory(tensor: Tensor) -> bool:
    """Whether a tensor is what its memory holds, and does not stand for others (as DTensor does)."""
    kind = type(tensor)
    return kind in _PLAIN or kind.__torch_dispatch__ == Tensor.__torch_dispatch__


def address(tensor: Tensor) -> int:
    """Where a tensor's memory begins, 0 where it has none of its own."""
    try:
        return tensor.untyped_storage().data_ptr()
    except Exception:
        return 0  # sparse, or it stands for many under torch.func


def same_bits(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors of one shape hold the same, NaN included."""
    if torch.equal(a, b):
        return True
    one, other = (t.contiguous().view(-1).view(torch.uint8) for t in (a, b))
    return torch.equal(one, other)


def _memory(tensor: Tensor) -> tuple[Any, ...]:
    return tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype
