"""Bad input gets an error that says what to do."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import foldmon

MODEL = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.Tanh())
ENDS = (torch.zeros(3, 4), torch.ones(3, 4))


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"points": 1}, "at least 2"),
        ({"points": 0}, "at least 2"),
        ({"chunk": 0}, "at least 1"),
        ({"method": "fast"}, '"sampled", "exact" or "auto"'),
        ({"layers": "l1"}, "Known: 1, 3"),
        ({"layers": ["1", "relu"]}, "unknown layer 'relu'"),
        ({"at": "O"}, "unknown module in at="),
    ],
)
def test_options(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        foldmon.measure(MODEL, ENDS, **options)


def test_the_nearest_layer_name_is_suggested() -> None:
    model = nn.Sequential()
    model.add_module("features", nn.ReLU())
    with pytest.raises(ValueError, match="did you mean 'features'"):
        foldmon.measure(model, ENDS, layers="feature")
    with pytest.raises(ValueError, match="did you mean 'features'"):
        foldmon.measure(model, ENDS, at="feature")


def test_no_activation_layer_lists_what_was_seen() -> None:
    class Cube(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x**3

    with pytest.raises(ValueError, match="no activation layer was found") as error:
        foldmon.measure(nn.Sequential(nn.Linear(4, 4), Cube()), ENDS)
    assert "Cube, Linear, Sequential" in str(error.value)
    assert "register_activation(Cube, thresholds)" in str(error.value)


@pytest.mark.parametrize("pairs", [torch.zeros(3, 4), (torch.zeros(3, 4),), None, "ab", 7])
def test_pairs_of_another_kind(pairs: Any) -> None:
    with pytest.raises(TypeError, match=r"foldmon\.Pairs or a tuple \(x1, x2\)|inputs must be a tensor"):
        foldmon.measure(MODEL, pairs)


def test_a_model_that_is_none() -> None:
    with pytest.raises(TypeError, match=r"torch\.nn\.Module, got function"):
        foldmon.measure(lambda x: x, ENDS)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "ends",
    [
        (torch.zeros(3, 7), torch.ones(3, 7)),
        ((ENDS[0], ENDS[0]), (ENDS[1], ENDS[1])),
        ({"x": ENDS[0], "z": ENDS[0]}, {"x": ENDS[1], "z": ENDS[1]}),
    ],
)
def test_inputs_that_the_model_does_not_take(ends: Any) -> None:
    with pytest.raises(RuntimeError, match=r"Sequential could not be called with .*float32[\s\S]*forward="):
        foldmon.measure(MODEL, ends)


def test_a_model_without_values() -> None:
    with torch.device("meta"):
        model = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
    with pytest.raises(ValueError, match="meta device"):
        foldmon.measure(model, ENDS)


def test_lazy_layers_are_not_initialised_by_a_probe() -> None:
    model = nn.Sequential(nn.LazyLinear(4), nn.ReLU())
    with pytest.raises(ValueError, match="run it once"):
        foldmon.measure(model, ENDS)
    assert model[0].has_uninitialized_params()


def test_integers_that_nothing_embeds() -> None:
    class OneHot(nn.Module):
        def forward(self, ids: Tensor) -> Tensor:
            return torch.relu(nn.functional.one_hot(ids, 9).float())

    with pytest.raises(ValueError, match="at="):
        foldmon.measure(OneHot(), (torch.zeros(3, 4).long(), torch.ones(3, 4).long()))


def test_at_a_module_that_does_not_run() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
    model.spare = nn.Linear(4, 4)
    model.forward = lambda x: model[1](model[0](x))  # type: ignore[method-assign]
    with pytest.raises(ValueError, match="'spare' in at= did not run"):
        foldmon.measure(model, ENDS, at="spare")
