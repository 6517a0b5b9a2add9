"""Batches parted into the model's inputs and their labels, in the order of what is likely."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from foldmon.folding.data.bundles import Bundle, fields_of
from foldmon.folding.data.graphs import (
    is_features_and_edges,
    is_graph,
    of_features_and_edges,
    of_graphs,
)
from foldmon.folding.data.labels import TARGET_KEYS, HeldOut, as_classes, is_text, joined_labels, to_labels
from foldmon.folding.data.trees import Common, batch_size, map_tensors, to_tensors
from foldmon.torch_internals import pytree

_CHANNELS, _SMALLEST = (1, 3, 4), 8  # of an image
_SURELY = 16  # so many numbers, all different, are no classes

WAY_OUT = (
    "pass a DataLoader, a Dataset, batches, inputs, or (inputs, labels), where inputs are a tensor or "
    "array, or a tuple or dict of them"
)


def of_arrays(data: Any) -> HeldOut:
    """Held-out data that are at hand: inputs, or (inputs, labels).

    Raises:
        TypeError: they are neither.
        ValueError: they are empty, or of differing lengths.
    """
    if hasattr(data, "to_numpy"):  # a table of pandas
        data = data.to_numpy()
    if isinstance(data, tuple | list) and len(data) == 2 and not _is_list_of_images(data):
        inputs, labels = data
        if is_features_and_edges(data):
            return of_features_and_edges(data, None)
        if is_features_and_edges(inputs):
            return of_features_and_edges(inputs, labels)
        if not (isinstance(labels, int | float) or (isinstance(labels, Tensor) and labels.ndim == 0)):
            return _split((inputs, labels), False)
    if hasattr(data, "keys"):
        return joined([data])
    if _is_list_of_images(data):
        return _of_images(data, None)
    if isinstance(data, Tensor | np.ndarray | tuple | list):
        return labelled(data, None, "")
    raise TypeError(f"held-out data of type {type(data).__name__} cannot be read; {WAY_OUT}")


def joined(batches: Sequence[Any]) -> HeldOut:
    """Batches as one; where shapes differ, those of the commonest.

    The last element of a tuple is the target, the others are the model's inputs; where the last numbers or
    names the inputs, the target is the one before it. Of a dict the target is under a usual name, such as
    "labels".

    Raises:
        ValueError: no two inputs have the same shape, or there are none.
    """
    graphs = [graph for batch in batches for graph in (batch if isinstance(batch, list) else [batch])]
    if graphs and all(map(is_graph, graphs)):
        return of_graphs(graphs)
    numbered = _are_numbered(batches)
    parts: dict[Any, list[HeldOut]] = {}
    for batch in batches:
        part = _split(batch, numbered)
        parts.setdefault(shapes(part.inputs), []).append(part)
    alike = max(parts.values(), key=lambda group: sum(map(len, group)))
    count = sum(len(part) for group in parts.values() for part in group)
    if sum(map(len, alike)) < 2 <= count:
        raise ValueError(
            f"no two of {count} held-out inputs have the same shape, and a line joins equal shapes only; "
            "pad or crop them in the DataLoader's collate_fn"
        )
    if len(alike) == 1:
        return alike[0]
    first, *rest = [part.inputs for part in alike]
    inputs = map_tensors(lambda *tensors: torch.cat(tensors), first, *rest)
    return HeldOut(inputs, joined_labels([part.labels for part in alike]), alike[0].origin)


def shapes(inputs: Any) -> tuple[tuple[int, ...], ...]:
    """Shapes of the tensors of one input."""
    return tuple(tuple(t.shape[1:]) for t in pytree.tree_leaves(inputs) if isinstance(t, Tensor))


def is_images(images: Any) -> bool:
    """Whether these are images of whatever sizes, and no batch of a model with several inputs."""
    return (
        isinstance(images, list | tuple)
        and len(images) > 0
        and all(isinstance(image, Tensor) and image.ndim == 3 for image in images)
        and all(min(image.shape[1:]) >= _SMALLEST for image in images)
        and all(image.shape[0] in _CHANNELS and image.is_floating_point() for image in images)
        and len({image.shape[0] for image in images}) == 1
    )


def is_sample(item: Any) -> bool:
    """Whether an item is one input with its label, and no batch of them: some part of it has no rows."""
    leaves = pytree.tree_leaves(fields_of(item) or item)
    arrays = [leaf for leaf in leaves if isinstance(leaf, Tensor | np.ndarray)]
    if not arrays or any(isinstance(leaf, int | float | np.number) for leaf in leaves):
        return True
    if any(array.ndim == 0 for array in arrays) or len({len(array) for array in arrays}) > 1:
        return True
    # Of equal lengths: rows and a label each, or one vector, or images joined to images.
    return arrays[0].ndim == 1 or (is_images(arrays) and len(arrays) > 1)


def _split(batch: Any, numbered: bool) -> HeldOut:
    if hasattr(batch, "keys"):
        return _split_dict({key: batch[key] for key in batch.keys()})  # noqa: SIM118 - not every one iterates
    if _is_list_of_images(batch):
        return _of_images(batch, None)
    if found := fields_of(batch):
        return _split_dict(found, Common(Bundle(batch)))
    if not isinstance(batch, tuple | list):
        return labelled(batch, None, "")
    if len(batch) == 1:
        return labelled(batch[0], None, "")
    *inputs, labels = batch[:-1] if numbered else batch
    origin = f"element {len(inputs) + 1} of {len(batch)}" if len(batch) > 2 else "the second element"
    if len(inputs) > 1:
        return labelled(tuple(inputs), labels, origin)
    if is_images(inputs[0]) and hasattr(labels, "__len__") and len(labels) == len(inputs[0]):
        return _of_images(inputs[0], labels)
    return labelled(inputs[0], labels, origin)


def _split_dict(items: dict[Any, Any], maker: Common | None = None) -> HeldOut:
    items = {key: value for key, value in items.items() if value is not None and not is_text(value)}
    names = [key for key in TARGET_KEYS if key in items]
    if len(names) == len(items):
        names = []
    rest: dict[Any, Any] = {key: value for key, value in items.items() if key not in names}
    if maker is not None:
        rest[""] = maker
    return labelled(rest, items[names[0]] if names else None, names[0] if names else "")


def _is_list_of_images(images: Any) -> bool:
    return isinstance(images, list) and is_images(images)


def _of_images(images: Sequence[Tensor], labels: Any) -> HeldOut:
    """Images of the commonest size; where each has another, all of them, filled up with zeros."""
    (size, times), *_ = Counter(image.shape for image in images).most_common(1)
    rows = [row for row, image in enumerate(images) if image.shape == size]
    if times == 1 and len(images) > 1:
        height, width = (max(image.shape[axis] for image in images) for axis in (1, 2))
        images = [pad(image, (0, width - image.shape[2], 0, height - image.shape[1])) for image in images]
        rows = list(range(len(images)))
    kept = None if labels is None else [labels[row] for row in rows]
    return labelled(torch.stack([images[row] for row in rows]), kept, "the second element")


def _are_numbered(batches: Sequence[Any]) -> bool:
    """Whether the last of three elements or more numbers or names the inputs: all are different."""
    if not all(isinstance(batch, tuple | list) and len(batch) > 2 for batch in batches):
        return False
    try:
        last = np.concatenate([_values(batch[-1]) for batch in batches])
        before = np.concatenate([_values(batch[-2]) for batch in batches])
    except (ValueError, TypeError, RuntimeError):
        return False
    if len(np.unique(last)) < len(last):
        return False
    repeated = as_classes(before) is not None and len(np.unique(before)) < len(before)
    return repeated or (len(last) >= _SURELY and len(before) == len(last))


def _values(column: Any) -> np.ndarray[Any, Any]:
    values = column.detach().cpu().numpy() if isinstance(column, Tensor) else np.asarray(column)
    if values.ndim != 1 or values.dtype.kind not in "iubUSf":
        raise TypeError
    if values.dtype.kind == "f" and not np.isin(values, (0.0, 1.0)).all():
        raise TypeError
    return values


def labelled(inputs: Any, labels: Any, origin: str) -> HeldOut:
    """Inputs with their labels, both in the form that :class:`HeldOut` holds them in.

    Raises:
        TypeError, ValueError: they cannot be, or are not one label an input.
    """
    inputs = to_tensors(inputs)
    size = batch_size(inputs)
    if size == 0:
        raise ValueError("the held-out data are empty: pass at least two inputs")
    try:
        held_out = HeldOut(inputs, to_labels(labels, size), origin)
    except ValueError as error:
        raise ValueError(f"{error}{_if_positions_first(inputs, labels)}") from error
    return held_out if held_out.labels is not None else replace(held_out, origin="")


def _if_positions_first(inputs: Any, labels: Any) -> str:
    """What to do where the second dimension of the inputs has as many entries as there are labels."""
    if not (isinstance(inputs, Tensor) and inputs.ndim > 1 and hasattr(labels, "__len__")):
        return ""
    if len(labels) != inputs.shape[1]:
        return ""
    return (
        ". Where positions come first and inputs second, pass x.transpose(0, 1) for x, and "
        "forward=lambda model, x: model(x.transpose(0, 1))"
    )
