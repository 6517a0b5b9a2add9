"""Held-out inputs with what is known of each: labels as they came, batch first, and their classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from foldmon.folding.data.trees import batch_size, describe, fingerprint, of_array, take_rows
from foldmon.torch_internals import pytree

TARGET_KEYS = ("labels", "label", "target", "targets", "label_ids", "y")
"""Names of the target in a dict, the likeliest first."""


@dataclass(frozen=True)
class HeldOut:
    """Inputs, batch first, and their labels.

    Attributes:
        inputs: N inputs, as :func:`foldmon.folding.data.trees.to_tensors` gives them.
        labels: what came with them, whatever it stands for (classes, regression targets, several labels an
            input, a label a token): a tensor with N rows; a tuple or dict of such; an array of N strings or
            of N Python objects (the boxes of an image); or None.
        origin: where the labels stood in the data, in words or as a dict's key; "" where that is not known.
    """

    inputs: Any
    labels: Any = None
    origin: str = ""

    def __len__(self) -> int:
        return batch_size(self.inputs)

    def __getitem__(self, rows: npt.NDArray[np.int64]) -> HeldOut:
        """The given inputs, in this order."""
        index = torch.from_numpy(rows)
        labels = self.labels[rows] if isinstance(self.labels, np.ndarray) else take_rows(self.labels, index)
        return HeldOut(take_rows(self.inputs, index), labels, self.origin)

    @cached_property
    def classes(self) -> npt.NDArray[Any] | None:
        """The labels as classes, shape (N,), None where they are none: one whole number, truth value or name
        an input."""
        return as_classes(self.labels)

    def __str__(self) -> str:
        """What was understood of the data, in one line.

        Example:
            >>> import torch
            >>> from foldmon.folding.data.labels import HeldOut
            >>> str(HeldOut(torch.zeros(64, 8), torch.arange(64) % 3, "the second element"))
            'inputs: float32 (64, 8); labels: 3 classes from the second element'
        """
        source = f" from {self.origin}" if self.origin else ""
        if self.labels is None:
            return f"inputs: {describe(self.inputs)}; no labels"
        if self.classes is not None:
            return (
                f"inputs: {describe(self.inputs)}; labels: {len(set(self.classes.tolist()))} classes{source}"
            )
        return (
            f"inputs: {describe(self.inputs)}; labels, which are no classes: {describe(self.labels)}{source}"
        )

    @cached_property
    def fingerprint(self) -> str:
        """A short text that equal inputs share, to recognise them in a resumed run."""
        return fingerprint(self.inputs)


def to_labels(labels: Any, size: int) -> Any:
    """Labels in the form that :class:`HeldOut` holds them in; None for ones that are not one an input.

    Args:
        labels: of any kind.
        size: number of inputs N.

    Raises:
        ValueError: a tensor, an array or a list of numbers or names that is not one an input.

    Example:
        >>> from foldmon.folding.data.labels import to_labels
        >>> to_labels([0.5, 1.5], 2).tolist(), to_labels(["cat", "dog"], 2).tolist()
        ([0.5, 1.5], ['cat', 'dog'])
    """
    if labels is None or isinstance(labels, Tensor | np.ndarray):
        return _with_rows(_to_tensor(labels), size)
    if hasattr(labels, "to_numpy"):  # a column of pandas
        return _with_rows(_to_tensor(labels.to_numpy()), size)
    if isinstance(labels, Mapping) or _has_parts(labels, size):
        return _tree(labels, size)
    if not isinstance(labels, Sequence):
        return None
    try:
        values = np.asarray(labels)
    except (ValueError, TypeError, RuntimeError):
        return _objects(labels, size)
    return _objects(labels, size) if values.dtype.kind == "O" else _with_rows(_to_tensor(values), size)


def joined_labels(parts: Sequence[Any]) -> Any:
    """The labels of several batches as one; None where some have none, or others than the first."""
    first = parts[0]
    if all(isinstance(part, np.ndarray) for part in parts):
        return np.concatenate(parts)
    leaves, specs = zip(*map(pytree.tree_flatten, parts), strict=True)
    alike = all(isinstance(leaf, Tensor) for part in leaves for leaf in part)
    if first is None or not alike or any(spec != specs[0] for spec in specs):
        return None
    try:
        return pytree.tree_unflatten([torch.cat(column) for column in zip(*leaves, strict=True)], specs[0])
    except (RuntimeError, TypeError):
        return None  # of differing shapes


def as_classes(labels: Any) -> npt.NDArray[Any] | None:
    """Labels as classes, shape (N,); None where they are no classes (regression targets, masks, ...)."""
    labels = target_in(labels)
    if not isinstance(labels, Tensor | np.ndarray):
        return None
    if isinstance(labels, Tensor):
        if labels.dtype.is_complex or labels.ndim > 2:
            return None
        labels = labels.detach().cpu()
        values = (labels.float() if labels.dtype == torch.bfloat16 else labels).numpy()
    else:
        values = labels
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    is_class = values.ndim == 1 and (values.dtype.kind in "iubUS" or _are_bits(values))
    return values if is_class else None


def _are_bits(values: npt.NDArray[Any]) -> bool:
    if values.dtype.kind != "f":
        return False
    return any(bool(np.isin(values, two).all()) for two in ((0.0, 1.0), (-1.0, 1.0)))


def target_in(labels: Any) -> Any:
    """Of labels that are a dict what stands under a usual name, such as "label"; else the labels.

    Example:
        >>> from foldmon.folding.data.labels import target_in
        >>> target_in({"id": [7, 8], "label": [0, 1]}), target_in([0, 1])
        ([0, 1], [0, 1])
    """
    names = [name for name in TARGET_KEYS if name in labels] if isinstance(labels, Mapping) else []
    return labels[names[0]] if names else labels


def is_text(value: Any) -> bool:
    """Whether this is a text, or a list of them."""
    many = isinstance(value, list | tuple) and len(value) > 0 and all(isinstance(word, str) for word in value)
    return many or isinstance(value, str)


def _to_tensor(labels: Any) -> Any:
    """Numbers as a tensor; names and objects as an array."""
    if not isinstance(labels, np.ndarray):
        return labels
    if labels.dtype.kind == "O":
        return labels.astype(np.str_) if all(isinstance(value, str) for value in labels.flat) else labels
    return of_array(labels) if labels.dtype.kind in "iufbc" else labels


def _with_rows(labels: Any, size: int) -> Any:
    if labels is not None and (labels.ndim == 0 or len(labels) != size):
        count = "a single label" if labels.ndim == 0 else f"{len(labels)} labels"
        raise ValueError(f"{size} held-out inputs but {count}; pass one label an input")
    return labels


def _has_parts(labels: Any, size: int) -> bool:
    """Whether these are several labels of all inputs, each with a row an input, not a list of N."""
    if not isinstance(labels, tuple | list) or not labels:
        return False
    return all(isinstance(part, Tensor | np.ndarray) and part.ndim and len(part) == size for part in labels)


def _tree(labels: Any, size: int) -> Any:
    """A tuple or dict of tensors with a row an input; None where one of them has not."""
    parts = labels.items() if isinstance(labels, Mapping) else ()
    kept: Any = {name: part for name, part in parts if not is_text(part)} or tuple(labels)
    tree = pytree.tree_map(_to_tensor, kept)
    leaves = pytree.tree_leaves(tree)
    return tree if all(isinstance(t, Tensor) and t.ndim and len(t) == size for t in leaves) else None


def _objects(labels: Sequence[Any], size: int) -> Any:
    """N labels of a kind of their own as an array of objects; tensors of one shape as a tensor."""
    if len(labels) != size:
        return None
    if all(isinstance(label, Tensor) for label in labels) and len({label.shape for label in labels}) == 1:
        return torch.stack(list(labels))
    found = np.empty(size, dtype=object)
    for row, label in enumerate(labels):
        found[row] = label
    return found
