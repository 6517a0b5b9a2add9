"""What held-out data may mean beside what they usually mean, where the model does not take the inputs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from torch import Tensor

from foldmon.folding.data.labels import HeldOut, as_classes
from foldmon.folding.data.splitting import labelled

# By which the input is known among several entries of a dict.
_INPUT_KEYS = (
    "image", "images", "img", "pixel_values", "x", "input", "inputs", "data", "features", "jpg", "png",
)  # fmt: skip


def other_readings(held_out: HeldOut) -> Iterator[HeldOut]:
    """Other inputs and labels of the same data, the likeliest first.

    Of a dict one entry may be the input, and so may what is named like a label. Of (a, b, c) the class may be
    b, or a number the input; of ((a, b), c) the model may take a alone; of (a, b) a may be the class; and all
    of them may be inputs.
    """
    inputs = held_out.inputs
    if isinstance(inputs, dict):
        yield from _of_dict(held_out, inputs)
    elif isinstance(inputs, tuple | list):
        yield from _of_several(held_out, inputs)
    elif isinstance(labels := held_out.labels, Tensor):
        if _is_column(inputs) and labels.ndim > 1:
            yield HeldOut(labels, inputs, "the first element")
        yield _with_all(held_out, (inputs,))


def _of_dict(held_out: HeldOut, inputs: dict[str, Any]) -> Iterator[HeldOut]:
    labels, origin = held_out.labels, held_out.origin
    if isinstance(labels, Tensor) and origin.isidentifier():
        yield HeldOut({**inputs, origin: labels}, labels, origin)
    elif isinstance(labels, Tensor):
        yield _with_all(held_out, (inputs,))
    tensors = {name: value for name, value in inputs.items() if isinstance(value, Tensor)}
    name = _input_among(tensors)
    if name is None:
        return
    if labels is None:
        rest = {other: value for other, value in tensors.items() if other != name and _are_classes(value)}
        origin, labels = next(iter(rest.items()), ("", None))
    yield HeldOut({name: tensors[name]}, labels, origin)  # it is passed by itself, and that is said


def _input_among(tensors: dict[str, Tensor]) -> str | None:
    """The entry that is the input: by its name, or as the only one of real numbers or of several a row."""
    named = [name for name in tensors if name in _INPUT_KEYS]
    real = [name for name, value in tensors.items() if value.is_floating_point()]
    several = [name for name, value in tensors.items() if value.ndim > 1]
    choices = (named, [name for name in real if name in several], real, several)
    return next((names[0] for names in choices if len(names) == 1), None)


def _of_several(held_out: HeldOut, inputs: tuple[Any, ...] | list[Any]) -> Iterator[HeldOut]:
    labels, origin = held_out.labels, held_out.origin
    first, second = (*inputs, None)[:2]
    found = [HeldOut(first, labels, origin)] if isinstance(first, Tensor) else []
    if len(inputs) == 2 and isinstance(first, Tensor):
        with suppress(ValueError, TypeError):
            by_second = labelled(first, second, "the second element")
            # Of ((a, b), c), and where c is a class and b is none, b is no label.
            apart = origin == "the second element" or (_are_classes(labels) and not _are_classes(second))
            found.insert(len(found) if apart else 0, by_second)
        if isinstance(second, Tensor) and _is_column(first):
            found.insert(0, HeldOut(second, labels, origin))  # the first one numbers the inputs
    yield from found
    if isinstance(labels, Tensor):
        yield _with_all(held_out, tuple(inputs))


def _with_all(held_out: HeldOut, inputs: tuple[Any, ...]) -> HeldOut:
    """The labels are an input too, and stay classes where they are some."""
    labels = held_out.labels if _are_classes(held_out.labels) else None
    return HeldOut((*inputs, held_out.labels), labels, "" if labels is None else held_out.origin)


def _are_classes(values: Any) -> bool:
    classes = as_classes(values)
    return classes is not None and len(set(classes.tolist())) < len(classes)


def _is_column(values: Any) -> bool:
    """Whether this is one whole number an input."""
    return isinstance(values, Tensor) and values.ndim == 1 and not values.is_floating_point()
