"""Model inputs as trees: a tensor, or tuples, lists and dicts of tensors, batch first."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from foldmon.torch_internals import pytree

_SHOWN = 8  # entries of a tuple or dict in an error message
_COMMON = (
    "what is common to all inputs belongs into forward=, such as forward=lambda model, x: model(x, common)"
)


class Common:
    """What is common to all inputs: no row is taken of it, and the model is given it as it is.

    Args:
        value: a tensor, or whatever has a method ``to(device)``.
    """

    def __init__(self, value: Any) -> None:
        self.value = value


def to_tensors(inputs: Any) -> Any:
    """The same tree with arrays turned into tensors that share their memory, and scalars into common ones.

    Raises:
        TypeError: no tensor in the tree.
        ValueError: a tensor without a batch dimension, or tensors of different batch sizes.
    """
    tree = pytree.tree_map(_to_tensor, _plain(inputs))
    tensors = [leaf for leaf in pytree.tree_leaves(tree) if isinstance(leaf, Tensor)]
    if not tensors:
        raise TypeError(
            f"inputs must be a tensor or array, or a tuple or dict of them, got {type(inputs).__name__}"
        )
    _check_layouts(tensors)
    if all(tensor.ndim == 0 for tensor in tensors):
        raise ValueError(f"every input tensor needs a batch dimension first, got a 0-d tensor; {_COMMON}")
    tree = map_tensors(lambda tensor: tensor if tensor.ndim else Common(tensor), tree)
    sizes = {len(tensor) for tensor in tensors if tensor.ndim}
    if len(sizes) > 1:
        raise ValueError(f"input tensors differ in their batch size: {sorted(sizes)}; {_COMMON}")
    return tree


def _check_layouts(tensors: list[Tensor]) -> None:
    if any(tensor.is_nested for tensor in tensors):
        raise TypeError("inputs of differing lengths are joined by no line; pad nested tensors to one length")
    if any(tensor.layout != torch.strided for tensor in tensors):
        raise TypeError("sparse inputs are joined by no line; pass them dense (x.to_dense())")


def _plain(inputs: Any) -> Any:
    """Tables of pandas as arrays, other libraries' mappings (a tokenizer's BatchEncoding, ...) as dicts."""
    if hasattr(inputs, "to_numpy"):
        return inputs.to_numpy()
    return dict(inputs) if hasattr(inputs, "keys") and not isinstance(inputs, dict) else inputs


def _to_tensor(leaf: Any) -> Any:
    if isinstance(leaf, np.ndarray):
        return of_array(leaf)
    return plain_tensor(leaf) if isinstance(leaf, Tensor) else leaf


def of_array(array: npt.NDArray[Any]) -> Tensor:
    """An array as a tensor, in the same memory where it is in one piece; it is never written to.

    Of one that cannot be written to (a file that is mapped to read) torch would warn, and where warnings are
    errors fail.

    Example:
        >>> import numpy as np
        >>> of_array(np.broadcast_to(np.float32(2), (3,)))
        tensor([2., 2., 2.])
    """
    array = np.ascontiguousarray(array)
    return torch.from_numpy(array if array.flags.writeable else np.asarray(_Writable(array)))


class _Writable:
    """The memory of an array, said to be writable."""

    def __init__(self, array: npt.NDArray[Any]) -> None:
        self._array = array  # keeps the memory
        interface = array.__array_interface__
        self.__array_interface__ = {**interface, "data": (interface["data"][0], False)}


def plain_tensor(tensor: Tensor) -> Tensor:
    """The tensor without the class that a library gave it for its own use (images, masks, metadata)."""
    kind = type(tensor)
    ordinary = (
        kind in (Tensor, torch.nn.Parameter) or kind.__torch_dispatch__ is not Tensor.__torch_dispatch__
    )
    return tensor if ordinary else tensor.as_subclass(Tensor)


def map_tensors(function: Callable[..., Any], tree: Any, *others: Any) -> Any:
    """Apply ``function`` to each tensor (and to its counterparts); other leaves stay the first's."""

    def apply(leaf: Any, *rest: Any) -> Any:
        return function(leaf, *rest) if isinstance(leaf, Tensor) else leaf

    return pytree.tree_map(apply, tree, *others)


def batch_size(tree: Any) -> int:
    """Length of the batch dimension, 0 for a tree without tensors."""
    return next((len(t) for t in pytree.tree_leaves(tree) if isinstance(t, Tensor)), 0)


def device_of_tree(tree: Any) -> torch.device:
    """Device of the first tensor; the CPU for a tree without tensors."""
    tensors = (t for t in pytree.tree_leaves(tree) if isinstance(t, Tensor))
    return next((tensor.device for tensor in tensors), torch.device("cpu"))


def take_rows(tree: Any, rows: Tensor) -> Any:
    """The given rows of every tensor."""
    return map_tensors(lambda tensor: tensor[rows.to(tensor.device)], tree)


def fingerprint(tree: Any) -> str:
    """A short text that trees of equal tensors share."""
    digest = hashlib.sha256()
    for leaf in pytree.tree_leaves(tree):
        if isinstance(leaf, Tensor):
            content = leaf.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
            digest.update(content.numpy().tobytes())
    return digest.hexdigest()[:16]


def describe(tree: Any) -> str:
    """The tree's structure and shapes, in words.

    Example:
        >>> import torch
        >>> from foldmon.folding.data.trees import describe
        >>> describe((torch.zeros(2, 3), {"ids": torch.zeros(2, dtype=torch.int64)}))
        '(float32 (2, 3), {ids: int64 (2,)})'
    """
    if isinstance(tree, Tensor):
        return f"{str(tree.dtype).removeprefix('torch.')} {tuple(tree.shape)}"
    if isinstance(tree, dict):
        return "{" + _listed([f"{key}: {describe(value)}" for key, value in tree.items() if key != ""]) + "}"
    if isinstance(tree, Common):
        return f"{describe(tree.value)} common to all"
    if isinstance(tree, tuple | list):
        return "(" + _listed([describe(item) for item in tree[: _SHOWN + 1]], len(tree)) + ")"
    return type(tree).__name__


def _listed(words: list[str], count: int = 0) -> str:
    count = max(count, len(words))
    return ", ".join(words[:_SHOWN]) + (f", ... ({count} in all)" if count > _SHOWN else "")


def size_in_bytes(tree: Any) -> int:
    """Bytes that the tensors and arrays of a tree hold."""
    return sum(leaf.nbytes for leaf in pytree.tree_leaves(tree) if isinstance(leaf, Tensor | np.ndarray))


def maker_of(inputs: Any) -> Any:
    """What makes of a dict of tensors what the model takes, None where they are taken as they are."""
    common = inputs.values() if isinstance(inputs, dict) else ()
    makers = (value.value for value in common if isinstance(value, Common))
    return next((maker for maker in makers if hasattr(maker, "assembled")), None)


def opened(inputs: Any) -> Any:
    """Inputs as the model is given them, with what is common to all of them on their device.

    What is common may make of them what the model takes (a graph): it has ``assembled(inputs)`` then.
    """
    maker = maker_of(inputs)
    if maker is not None:
        return maker.assembled(inputs)
    if not any(isinstance(leaf, Common) for leaf in pytree.tree_leaves(inputs)):
        return inputs
    device = device_of_tree(inputs)
    return pytree.tree_map(lambda leaf: leaf.value.to(device) if isinstance(leaf, Common) else leaf, inputs)


def call(model: Callable[..., Any], inputs: Any) -> Any:
    """Call a model the way its inputs are packed: a dict by keyword, a tuple or list by position."""
    maker = maker_of(inputs)
    if maker is not None:
        return maker.read(called(model, maker.assembled(inputs)), inputs)
    return called(model, opened(inputs))


def called(model: Callable[..., Any], inputs: Any) -> Any:
    """Call a model with inputs as they are."""
    if isinstance(inputs, dict):
        return model(**inputs)
    if isinstance(inputs, tuple | list):
        return model(*inputs)
    return model(inputs)
