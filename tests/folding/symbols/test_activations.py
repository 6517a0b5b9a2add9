"""The table of activations says of each what its module and its function do."""

from __future__ import annotations

import inspect

import pytest
import torch
from torch import nn
from torch.nn.modules import activation as torch_activations

import foldmon
from foldmon.folding.symbols.activations import ACTIVATIONS, Activation, Reading
from foldmon.folding.symbols.registry import FUNCTIONS, reader_of

MODULES = [
    (row, cls) for row in ACTIVATIONS for cls in row.classes if isinstance(cls, type) and cls is not nn.GLU
]
ARGUMENTS = {nn.Threshold: (0.7, -9.0)}
# Not one number to one number: of these no row can know a threshold.
NO_ACTIVATIONS = {"Softmax", "Softmax2d", "Softmin", "LogSoftmax", "MultiheadAttention"}


def test_every_activation_of_torch_has_one_row() -> None:
    listed = [cls for row in ACTIVATIONS for cls in row.classes]
    assert len(listed) == len(set(listed))
    torch_has = {name for name in torch_activations.__all__ if name not in NO_ACTIVATIONS}
    assert torch_has | {"GELU"} <= {cls.__name__ for cls in listed if isinstance(cls, type)}
    assert len({row.name for row in ACTIVATIONS}) == len(ACTIVATIONS)


@pytest.mark.parametrize(("row", "cls"), MODULES, ids=lambda value: getattr(value, "__name__", ""))
def test_linear_in_pieces_is_what_bends_at_its_thresholds_alone(
    row: Activation, cls: type[nn.Module]
) -> None:
    module = cls(*ARGUMENTS.get(cls, ())).double().eval()
    z = torch.arange(-10, 10, 0.01, dtype=torch.float64)
    reading = row.read_module(module, z)
    assert reading is not None
    assert reading.thresholds is not None
    with torch.no_grad():
        values = module(z)
    bends = (values[2:] - 2 * values[1:-1] + values[:-2]).abs()
    jumps = bends.max() > 0.1
    places = z[1:-1][bends > 1e-6]
    away = max(min(abs(place - cut) for cut in reading.thresholds) for place in places.tolist())
    assert row.linear_in_pieces == (away < 0.015 and not jumps)


def same(a: Reading | None, b: Reading | None) -> bool:
    if a is None or b is None:
        return a is b
    return a.values is b.values and a.thresholds == b.thresholds


@pytest.mark.parametrize(("row", "cls"), MODULES, ids=lambda value: getattr(value, "__name__", ""))
def test_a_call_with_the_modules_defaults_reads_what_the_module_reads(
    row: Activation, cls: type[nn.Module]
) -> None:
    module, z = cls(*ARGUMENTS.get(cls, ())), torch.randn(3, 4)
    given = [getattr(module, name) for name in row.options]
    by_module, by_call = row.read_module(module, z), row.read_call((z, *given), {})
    by_default = row.read_call((), {"input": z})
    assert same(by_module, by_call)
    assert same(by_call, by_default) or cls is nn.Threshold  # whose function has no default
    assert any(known is row for known in FUNCTIONS.values())


def test_classes_of_transformers_are_known_by_name_and_their_subclasses_too() -> None:
    named = type("SiLUActivation", (nn.Module,), {"__module__": "transformers.activations"})
    stranger = type("SiLUActivation", (nn.Module,), {"__module__": "elsewhere"})
    assert reader_of(named()) is not None
    assert reader_of(type("Mine", (named,), {"__module__": "elsewhere"})()) is not None
    assert reader_of(stranger()) is None


def test_every_class_of_transformers_that_the_table_names_exists() -> None:
    transformers = pytest.importorskip("transformers.activations")
    has = {name for name, cls in vars(transformers).items() if inspect.isclass(cls)}
    missing = {cls for row in ACTIVATIONS for cls in row.classes if isinstance(cls, str)} - has
    # Their names in releases before and after the installed one.
    assert missing <= {"PytorchGELUTanh", "GELUTanh", "XIELUActivation"}


@pytest.mark.parametrize("method", ["sampled", "exact"])
def test_a_hardtanh_without_an_upper_end_is_relu(method: str) -> None:
    def network(act: nn.Module) -> nn.Module:
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(4, 8), act, nn.Linear(8, 8), act, nn.Linear(8, 2))

    torch.manual_seed(1)
    ends = torch.randn(5, 4), torch.randn(5, 4)
    open_ended, relu = (
        foldmon.measure(network(act), ends, method=method).r2
        for act in (nn.Hardtanh(0.0, float("inf")), nn.ReLU())
    )
    assert relu.sum() > 0
    assert (open_ended == relu).all()
