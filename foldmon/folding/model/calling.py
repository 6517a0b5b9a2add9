"""Ways to call a model with inputs that it does not take as they are packed, the likeliest first."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor, nn

from foldmon.folding.data.bundles import Bundle
from foldmon.folding.data.trees import call, maker_of, opened
from foldmon.folding.model.decoders import FIRST_TOKEN, ask_for_first_token
from foldmon.torch_internals import has_weights

Forward = Callable[[nn.Module, Any], Any]

_MISSING = (nn.Module.forward.__qualname__, "LightningModule.forward")


def given(forward: Forward) -> Forward:
    """A function of the user's, which is to see inputs as the user has them."""
    return lambda model, inputs: forward(model, opened(inputs))


def other_calls(model: nn.Module, inputs: Any) -> Iterator[tuple[Forward, str]]:
    """Other ways to call a model than a dict by keyword and a tuple by position, and what they do, in words.

    Args:
        model: that could not be called with the inputs.
        inputs: batch first.
    """
    if not _has_forward(model):
        yield from _calls_of_the_only_child(model)
        return
    maker = maker_of(inputs)
    if isinstance(maker, Bundle):
        for forward, note in _calls_with_dict(model, _without_makers(inputs)):
            yield _taking_parts(forward), note
        return
    if maker is not None:
        yield _by_names, "the parts of the graph are passed by name"
        return
    first_token = ask_for_first_token(model, inputs)
    if first_token is not None:
        yield first_token, FIRST_TOKEN
    if isinstance(inputs, dict):
        yield from _calls_with_dict(model, inputs)
    elif isinstance(inputs, tuple | list):
        yield lambda model, inputs: model(tuple(opened(inputs))), "the inputs are passed as one tuple"
        yield lambda model, inputs: model(list(opened(inputs))), "the inputs are passed as one list"
    elif isinstance(inputs, Tensor) and inputs.ndim > 1:
        yield lambda model, inputs: model(list(inputs)), "the inputs are passed as a list of single ones"


def _has_forward(model: nn.Module) -> bool:
    if "forward" in vars(model):
        return True
    return getattr(type(model).forward, "__qualname__", "") not in _MISSING


def _calls_of_the_only_child(model: nn.Module) -> Iterator[tuple[Forward, str]]:
    """Of a module that is trained by methods of its own, the one module in it that holds weights."""
    names = [name for name, child in model.named_children() if has_weights(child)]
    if len(names) == 1:
        name = names[0]
        yield (
            lambda model, inputs: call(getattr(model, name), inputs),
            f"the module has no forward pass: its {name} is called",
        )


def _without_makers(inputs: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in inputs.items() if name}


def _taking_parts(forward: Forward) -> Forward:
    """A call with what the user's object holds, not with the object."""
    return lambda model, inputs: forward(model, _without_makers(inputs))


def _by_names(model: nn.Module, inputs: Any) -> Any:
    """A graph to a model that takes its features, edges and the like one by one."""
    maker, graph = maker_of(inputs), opened(inputs)
    if isinstance(graph, tuple):
        graph = dict(zip(("x", "edge_index"), graph, strict=True))
    given = {name: graph[name] for name in _keywords(model) if name in graph and graph[name] is not None}
    return maker.read(model(**given), inputs)


def _calls_with_dict(model: nn.Module, inputs: dict[str, Any]) -> Iterator[tuple[Forward, str]]:
    known = _keywords(model) & inputs.keys()
    if known and len(known) < len(inputs):
        left = ", ".join(str(name) for name in inputs if name not in known)
        yield (
            lambda model, inputs: model(**opened({name: inputs[name] for name in inputs if name in known})),
            f"the model does not take {left}: left out",
        )
    yield lambda model, inputs: model(opened(inputs)), "the inputs are passed as one dict"
    tensors = [name for name, value in inputs.items() if isinstance(value, Tensor)]
    if len(tensors) == 1:
        name = tensors[0]
        yield lambda model, inputs: model(inputs[name]), f"{name} is passed by itself"


def _keywords(model: nn.Module) -> set[str]:
    try:
        return set(inspect.signature(model.forward).parameters)
    except (TypeError, ValueError):
        return set()  # compiled code without a signature
