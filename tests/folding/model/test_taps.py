"""Any activation call is seen, once, and the model is left as it was."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.ao import quantization
from torch.nn import functional as F

import foldmon
from foldmon import Pairs
from foldmon.folding.model.prober import Prober
from foldmon.folding.model.scout import NO_CLASS
from foldmon.folding.sampled.report import measure_sampled
from foldmon.folding.symbols.registry import _by_class

ENDS = (torch.zeros(3, 4), torch.ones(3, 4))


def coverage_of(model: nn.Module, ends: Any = ENDS) -> Any:
    return foldmon.measure(model, ends, points=3).coverage


@pytest.fixture
def registry() -> Iterator[None]:
    saved = dict(_by_class)
    yield
    _by_class.clear()
    _by_class.update(saved)


class Wrong(nn.Module):
    """Runs two activations, then fails where it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.relu, self.fails = nn.Linear(4, 4), nn.ReLU(), False

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.linear(x))
        if self.fails:
            raise RuntimeError("no luck")
        return torch.tanh(x)


def hooks_of(model: nn.Module) -> int:
    return sum(
        len(hooks)
        for module in model.modules()
        for hooks in (
            module._forward_hooks,
            module._forward_pre_hooks,
            module._forward_hooks_with_kwargs,
            module._forward_pre_hooks_with_kwargs,
            module._forward_hooks_always_called,
        )
    )


def test_nothing_stays_on_the_model() -> None:
    model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Dropout(0.5), nn.Linear(6, 2))
    model.train()
    model[1].eval()  # frozen BatchNorm in a model that trains
    flags = [module.training for module in model.modules()]
    state = copy.deepcopy(model.state_dict())
    random = torch.get_rng_state()
    foldmon.measure(model, ENDS)
    assert hooks_of(model) == 0
    assert [module.training for module in model.modules()] == flags
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert torch.equal(random, torch.get_rng_state())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_nothing_stays_after_an_exception_in_the_middle() -> None:
    model = Wrong().train()
    pairs = Pairs(*ENDS)
    prober = Prober(model, pairs)
    model.fails = True
    with pytest.raises(RuntimeError, match="no luck"):
        measure_sampled(prober, 5)
    with pytest.raises(RuntimeError, match="no luck"):
        foldmon.measure(model, ENDS)
    assert hooks_of(model) == 0
    assert model.training
    assert model.relu.training
    assert torch.is_grad_enabled()
    model.fails = False
    assert measure_sampled(prober, 5).layers == ("relu", "/tanh")


def test_the_outputs_of_a_tapped_pass_are_the_bare_ones() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(inplace=True), nn.GELU(), nn.Linear(6, 2)).eval()
    outputs: list[Tensor] = []

    def forward(model: nn.Module, inputs: Any) -> Any:
        outputs.append(model(inputs))
        return outputs[-1]

    foldmon.measure(model, ENDS, points=2, forward=forward)
    assert torch.equal(outputs[-1], model(torch.cat(ENDS)))


def test_keyword_only_calls() -> None:
    class Keyword(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.relu = nn.ReLU()

        def forward(self, *, features: Tensor) -> Any:
            return self.relu(input=features - 0.5)

    report = foldmon.measure(Keyword(), ({"features": ENDS[0]}, {"features": ENDS[1]}))
    assert report.layers == ("relu",)
    assert report.r2.tolist() == [[4]] * 3


def test_functional_calls_are_named_by_their_enclosing_module() -> None:
    class Inner(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return F.relu(x).tanh()

    class Outer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.block = nn.ModuleList([Inner(), Inner()])

        def forward(self, x: Tensor) -> Tensor:
            for block in self.block:
                x = block(x)
            return F.relu(F.relu(x))

    assert foldmon.measure(Outer(), ENDS).layers == (
        "block.0/relu", "block.0/tanh", "block.1/relu", "block.1/tanh", "/relu", "/relu:1"
    )  # fmt: skip


def test_layers_are_chosen_by_name_pattern_and_call() -> None:
    shared = nn.ReLU()
    model = nn.Sequential(nn.Linear(4, 4), shared, nn.Linear(4, 4), shared, nn.Tanh())
    assert foldmon.measure(model, ENDS).layers == ("1", "1:1", "4")
    assert foldmon.measure(model, ENDS, layers="1").layers == ("1", "1:1")
    assert foldmon.measure(model, ENDS, layers=["4", "1:1"]).layers == ("1:1", "4")
    assert foldmon.measure(model, ENDS, layers="1*").layers == ("1", "1:1")


@pytest.mark.parametrize("activation", ["relu", "gelu", nn.SiLU()])
@pytest.mark.parametrize("batch_first", [True, False])
def test_transformer_encoder_layers(activation: Any, batch_first: bool) -> None:
    """Their activation is functional, and their fused path of eval mode must not swallow it."""
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, activation=activation, batch_first=True)
    encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=batch_first)
    x1, x2 = torch.randn(3, 5, 8), torch.randn(3, 5, 8)
    expected = foldmon.measure(encoder, (x1, x2))
    assert expected.units == (5 * 16, 5 * 16)
    assert expected.r2.min() > 0
    if batch_first:
        return
    first = copy.deepcopy(encoder)
    for encoder_layer in first.layers:
        encoder_layer.self_attn.batch_first = False

    class SequenceFirst(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = first

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.encoder(x.transpose(0, 1)).transpose(0, 1)
            return out

    report = foldmon.measure(SequenceFirst(), (x1, x2))
    assert report.units == expected.units
    np.testing.assert_array_equal(report.r1, expected.r1)
    np.testing.assert_array_equal(report.r2, expected.r2)


@pytest.mark.parametrize("length", [2, 3, 5, 7])
def test_a_sequence_as_long_as_the_batch_is_not_taken_for_it(length: int) -> None:
    class SequenceFirst(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.relu(x.transpose(0, 1)).transpose(0, 1)

    torch.manual_seed(0)
    x1, x2 = torch.randn(6, length, 4), torch.randn(6, length, 4)
    plain, turned = foldmon.measure(nn.ReLU(), (x1, x2)), foldmon.measure(SequenceFirst(), (x1, x2))
    np.testing.assert_array_equal(plain.r1, turned.r1)


def test_a_batch_folded_into_positions() -> None:
    class Folded(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.relu(x.flatten(0, 1)).view_as(x)

    torch.manual_seed(0)
    x1, x2 = torch.randn(6, 5, 4), torch.randn(6, 5, 4)
    folded = foldmon.measure(Folded(), (x1, x2), chunk=50)
    assert folded.units == (20,)
    np.testing.assert_array_equal(folded.r1, foldmon.measure(nn.ReLU(), (x1, x2)).r1)


class Custom(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * x


def test_a_custom_class_is_reported_with_what_to_do_and_measured_once_registered(registry: None) -> None:
    model = nn.Sequential(nn.Linear(4, 4), Custom(), nn.ReLU())
    before = coverage_of(model)
    assert list(before.sites) == ["2"]
    assert "foldmon.register_activation(Custom, thresholds)" in before.not_covered["1"]
    foldmon.register_activation(Custom, (-1.0, 1.0))
    after = coverage_of(model)
    assert list(after.sites) == ["1", "2"]
    assert after.not_covered == {}


def test_a_registered_class_hides_the_calls_inside_it(registry: None) -> None:
    class Composite(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Tanh()

        def forward(self, x: Tensor) -> Tensor:
            return torch.sigmoid(self.inner(x))

    model = nn.Sequential(Composite(), nn.ReLU())
    assert list(coverage_of(model).sites) == ["0.inner", "0/sigmoid", "1"]
    foldmon.register_activation(Composite, 0.0)
    assert list(coverage_of(model).sites) == ["0", "1"]


@pytest.mark.parametrize(
    ("cls", "thresholds", "error"),
    [
        (torch.relu, 0.0, TypeError),
        (Custom, (), ValueError),
        (Custom, (1.0, 1.0), ValueError),
        (Custom, (1.0, 0.0), ValueError),
        (Custom, float("inf"), ValueError),
        (Custom, foldmon.SELECTED_INDEX, TypeError),
    ],
)
def test_wrong_registrations(cls: Any, thresholds: Any, error: type[Exception], registry: None) -> None:
    with pytest.raises(error):
        foldmon.register_activation(cls, thresholds)


def test_selected_index_of_max_pooling(registry: None) -> None:
    foldmon.register_activation(nn.MaxPool1d, foldmon.SELECTED_INDEX)
    ends = (torch.tensor([[[1.0, 0.0, 0.0, 1.0]]]), torch.tensor([[[0.0, 1.0, 0.0, 2.0]]]))
    report = foldmon.measure(nn.Sequential(nn.MaxPool1d(2)), ends)
    assert report.layers == ("0",)
    assert (report.r1.item(), report.r2.item(), report.units) == (1, 1, (2,))


@pytest.mark.parametrize("build", [nn.LSTMCell, nn.GRUCell, nn.RNNCell])
def test_recurrent_cells_are_reported_as_not_covered(build: Any) -> None:
    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell = build(4, 8)

        def forward(self, x: Tensor) -> Tensor:
            hidden = self.cell(x)
            return torch.relu(hidden[0] if isinstance(hidden, tuple) else hidden)

    coverage = coverage_of(Recurrent())
    assert list(coverage.sites) == ["/relu"]
    assert list(coverage.not_covered) == ["cell"]


@pytest.mark.parametrize("build", [nn.LSTM, nn.GRU, nn.RNN])
def test_recurrent_layers_are_reported_as_not_covered(build: Any) -> None:
    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.recurrent, self.head = build(4, 8, batch_first=True), nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Any:
            return torch.relu(self.head(self.recurrent(x)[0]))

    coverage = coverage_of(Recurrent(), (torch.zeros(3, 5, 4), torch.ones(3, 5, 4)))
    assert list(coverage.sites) == ["/relu"]
    assert list(coverage.not_covered) == ["recurrent"]
    assert "fused kernel" in coverage.not_covered["recurrent"]
    assert "recurrent" in str(coverage)


def test_torchscript_parts_are_reported_once() -> None:
    scripted = torch.jit.script(nn.Sequential(nn.Linear(4, 4), nn.ReLU()))
    coverage = coverage_of(nn.Sequential(scripted, nn.ReLU()))
    assert list(coverage.sites) == ["1"]
    assert list(coverage.not_covered) == ["0"]
    assert "before scripting" in coverage.not_covered["0"]
    with pytest.raises(ValueError, match="before scripting"):
        foldmon.measure(scripted, ENDS)


def test_selections_are_seen_and_named_but_not_counted() -> None:
    class Clamped(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            low, high = torch.clamp(input=x, max=0.1), x.clamp(0, 6)
            return torch.relu(x.clamp(min=0.1)) + torch.maximum(x, -x) + low + high

    coverage = coverage_of(Clamped())
    assert list(coverage.sites) == ["/relu"]
    assert dict(coverage.kinks) == {"/clamp": "clamp", "/maximum": "maximum"}


@pytest.mark.parametrize(
    ("function", "kink"),
    [
        (lambda z: z * (z > 0), "/gt"),
        (lambda z: z.masked_fill(z < 0, 0.0), "/lt"),
        (lambda z: z * torch.ge(z, 0).float(), "/ge"),
        (lambda z: torch.where(torch.le(z, 0), 0.0, z), "/le"),
        (lambda z: z * 0.5 * (1 + torch.erf(z / 2**0.5)), "/erf"),
        (lambda z: torch.sin(30 * z), "/sin"),
        (lambda z: abs(z), "/abs"),
    ],
)
def test_masks_and_written_out_activations_are_named(function: Any, kink: str) -> None:
    class Written(nn.Module):
        def forward(self, x: Tensor) -> Any:
            return torch.relu(function(x))

    coverage = coverage_of(Written())
    assert list(coverage.sites) == ["/relu"]
    assert kink in coverage.kinks


def test_bends_of_weights_alone_are_not_named() -> None:
    class Positions(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.relu(x) * torch.arange(4.0).sin().where(torch.arange(4) > 1, 0.5)

    assert coverage_of(Positions()).kinks == {}


@pytest.mark.parametrize("operator", [torch.ops.aten.relu, torch.ops.aten.relu.default, torch.ops.aten.relu_])
def test_aten_operators_are_the_functions_of_their_names(operator: Any) -> None:
    class Operator(nn.Module):
        def forward(self, x: Tensor) -> Any:
            return operator(x - 0.5)

    report = foldmon.measure(Operator(), ENDS)
    assert report.layers == ("/relu",)
    assert report.r2.tolist() == [[4]] * 3


def test_exported_programs_are_measured_as_the_model_is() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.Hardtanh(), nn.Linear(8, 3))
    batch = {0: torch.export.Dim("batch")}
    program = torch.export.export(model, (torch.randn(3, 4),), dynamic_shapes=(batch,)).module()
    a, b = torch.randn(5, 4), torch.randn(5, 4)
    report, plain = foldmon.measure(program, (a, b)), foldmon.measure(model, (a, b))
    assert report.layers == ("/relu", "/hardtanh")
    np.testing.assert_array_equal(report.r1, plain.r1)
    np.testing.assert_array_equal(report.r2, plain.r2)


def test_parameters_and_complex_values_are_no_sites() -> None:
    class Gated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gate = nn.Parameter(torch.zeros(5))

        def forward(self, x: Tensor) -> Tensor:
            spectrum = torch.tanh(torch.fft.rfft(x)).abs()
            return torch.relu(x) * torch.sigmoid(self.gate).sum() + spectrum.sum()

    coverage = coverage_of(Gated())
    assert list(coverage.sites) == ["/relu"]
    assert "batch size" in coverage.not_covered["/sigmoid"]
    assert "complex" in coverage.not_covered["/tanh"]


@pytest.mark.parametrize("kind", ["wrapped", "in place", "part"])
def test_compiled_models_are_measured_eagerly_without_recompilation(kind: str) -> None:
    compilations: list[int] = []

    def backend(graph: Any, inputs: Any) -> Any:
        compilations.append(1)
        return graph.forward

    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 4), nn.ReLU())

        def forward(self, x: Tensor) -> Any:
            return self.body(x)

    torch.compiler.reset()
    torch.manual_seed(0)
    plain = Plain()
    if kind == "wrapped":
        model: Any = torch.compile(plain, backend=backend)
    elif kind == "in place":
        model = plain
        model.compile(backend=backend)
    else:
        model = nn.Sequential(torch.compile(plain, backend=backend), nn.Tanh())
    x = torch.randn(6, 4)
    expected = model(x)
    compiled = len(compilations)
    assert compiled == 1
    report = foldmon.measure(model, (x, -x))
    assert len(report.layers) == (3 if kind == "part" else 2)
    assert report.r2.sum() > 0
    assert torch.equal(model(x), expected)
    assert len(compilations) == compiled


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_quantized_models() -> None:
    torch.manual_seed(0)
    layers = nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 16), nn.Hardswish(), nn.Linear(16, 3)
    model = nn.Sequential(quantization.QuantStub(), *layers, quantization.DeQuantStub(), nn.ReLU()).eval()
    ends = torch.randn(5, 8), torch.randn(5, 8)
    whole = foldmon.measure(model, ends)
    dynamic = quantization.quantize_dynamic(model, {nn.Linear})
    assert foldmon.measure(dynamic, ends).layers == whole.layers
    model.qconfig = quantization.get_default_qconfig("x86")
    prepared = quantization.prepare(model)
    prepared(torch.cat(ends))
    static = foldmon.measure(quantization.convert(prepared), ends)
    assert static.layers == whole.layers
    assert static.coverage.not_covered == {}
    assert (static.r2[:, 0] > 0).all()


class Residual(nn.Module):
    """Convolutions, a sum and a head, of which torch.ao fuses each with its ReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.quantized, self.plain = quantization.QuantStub(), quantization.DeQuantStub()
        self.conv, self.norm, self.relu = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU()
        self.again, self.relu2 = nn.Conv2d(4, 4, 3, padding=1), nn.ReLU()
        self.sum = torch.ao.nn.quantized.FloatFunctional()
        self.third, self.relu3 = nn.Conv2d(4, 4, 1), nn.ReLU()
        self.fc, self.act, self.out = nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.norm(self.conv(self.quantized(x))))
        x = self.sum.add_relu(x, self.relu2(self.again(x)))
        x = self.relu3(self.third(x)).mean((2, 3))
        return self.plain(self.out(self.act(self.fc(x))))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_activations_fused_into_quantized_kernels_are_found() -> None:
    torch.manual_seed(0)
    model, images = Residual().eval(), (torch.randn(5, 3, 6, 6), torch.randn(5, 3, 6, 6))
    whole = foldmon.measure(model, images)
    model.qconfig = quantization.get_default_qconfig("x86")
    fused = quantization.fuse_modules(model, [["conv", "norm", "relu"], ["again", "relu2"], ["fc", "act"]])
    prepared = quantization.prepare(fused)
    prepared(torch.cat(images))
    converted = quantization.convert(prepared)
    report = foldmon.measure(converted, images)
    assert report.layers == (
        "conv/conv2d_relu", "again/conv2d_relu", "/add_relu", "relu3", "fc/linear_relu",
    )  # fmt: skip
    assert report.units == whole.units
    kept: list[Tensor] = []
    converted.conv.register_forward_hook(lambda module, args, output: kept.append(output.dequantize() > 0))
    for end in images:
        converted(end)
    ends = foldmon.measure(converted, images, points=2, layers="conv/*")
    assert ends.r1[:, 0].tolist() == (kept[0] != kept[1]).flatten(1).sum(1).tolist()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_models_of_other_dtypes(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 64), nn.GELU())
    ends = torch.randn(5, 4), torch.randn(5, 4)
    single = foldmon.measure(model, ends)
    report = foldmon.measure(model.to(dtype), ends)
    assert report.layers == single.layers
    np.testing.assert_allclose(report.r1, single.r1, atol=3)


def test_autocast_of_the_caller_does_not_reach_the_probe() -> None:
    seen: list[torch.dtype] = []

    def forward(model: nn.Module, inputs: Any) -> Any:
        output = model(inputs)
        seen.append(output.dtype)
        return output

    with torch.autocast("cpu", torch.bfloat16):
        foldmon.measure(nn.Sequential(nn.Linear(4, 4), nn.ReLU()), ENDS, forward=forward)
    assert set(seen) == {torch.float32}


class Overflow(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(x - 0.5)
        x = torch.tanh(torch.where(x > 0.4, torch.inf, x))
        return torch.sigmoid(torch.where(x == 1, torch.nan, x))


def test_nan_and_infinite_values_are_counted_and_named_by_layer() -> None:
    report = foldmon.measure(Overflow(), ENDS, points=11)
    assert report.nonfinite.tolist() == [0, 3 * 4, 3 * 4]
    assert len([note for note in report.notes if "NaN or infinite" in note]) == 2
    assert any(note.startswith("/tanh met 12 ") for note in report.notes)
    named = [note.split()[0] for note in report.coverage.notes if "NaN or infinite" in note]
    assert named == ["/tanh", "/sigmoid"]
    assert "/tanh, /sigmoid (2 places) met NaN or infinite values" in str(report.coverage)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("method", ["sampled", "exact", "auto"])
def test_nan_never_reads_as_dead_or_saturated(dtype: torch.dtype, method: Any) -> None:
    if method == "exact" and dtype.itemsize < 4:
        pytest.skip("half precision has no exact folding")
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 6), nn.Tanh()).to(dtype)
    with torch.no_grad():
        model[2].weight[:, 0] = torch.nan  # the second layer is NaN throughout
    report = foldmon.measure(model, (torch.randn(5, 4), torch.randn(5, 4)), method=method)
    assert report.nonfinite[0] == 0
    assert report.nonfinite[1] == 6 * report.evaluations
    assert np.isfinite(report.dead[0])
    assert np.isnan(report.dead[1])
    assert np.isnan(report.saturated[1])
    assert any(note.startswith("3 met") for note in report.notes)
    assert any(note.startswith("3 met") for note in report.coverage.notes)


def test_half_precision_that_overflows_is_told() -> None:
    model = nn.Sequential(nn.Linear(4, 6, bias=False), nn.ReLU()).half()
    nn.init.constant_(model[0].weight, 6e4)
    report = foldmon.measure(model, (torch.full((2, 4), 9.0), torch.full((2, 4), 10.0)))
    assert report.nonfinite.tolist() == [2 * 33 * 6]
    assert np.isnan(report.saturated[0])


def test_finite_values_whose_sum_overflows_are_not_counted() -> None:
    huge = torch.full((2, 64), 3e38)
    assert foldmon.measure(nn.ReLU(), (huge, huge)).nonfinite.tolist() == [0]


def test_dead_and_saturated_units() -> None:
    model = nn.Sequential(nn.Hardtanh())
    ends = torch.tensor([[-9.0, 9.0, 0.0, -9.0]]), torch.tensor([[-9.0, 9.0, 0.0, 9.0]])
    report = foldmon.measure(model, ends)
    assert (report.dead.item(), report.saturated.item()) == (0.25, 0.25)


def test_calls_under_vmap_are_reported() -> None:
    class Mapped(nn.Module):
        def forward(self, x: Tensor) -> Any:
            return torch.tanh(torch.vmap(torch.relu)(x))

    coverage = coverage_of(Mapped())
    assert list(coverage.sites) == ["/tanh"]
    assert "vmap" in coverage.not_covered["/relu"]
    assert all(note.startswith(NO_CLASS) for note in coverage.notes)


def test_uninterpretable_calls_are_reported() -> None:
    class Listing(nn.ReLU):
        def forward(self, items: Any) -> Any:
            return [super(Listing, self).forward(item) for item in items]

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.listing = Listing()

        def forward(self, x: Tensor) -> Tensor:
            return torch.tanh(self.listing([x, x])[0])

    coverage = coverage_of(Model())
    assert list(coverage.sites) == ["/tanh"]
    assert coverage.not_covered["listing"] == "its first input is no tensor"


def test_code_of_the_users_own_in_a_linear_layer_is_seen() -> None:
    class Own(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return torch.tanh(super().forward(x))

    hooked, patched = nn.Linear(4, 4), nn.Linear(4, 4)
    hooked.register_forward_hook(lambda *args: torch.relu(args[2]))
    patched.forward = lambda x: torch.sigmoid(x)  # type: ignore[method-assign]
    model = nn.Sequential(Own(4, 4), hooked, patched, nn.Linear(4, 4))
    assert foldmon.measure(model, ENDS).layers == ("0/tanh", "1/relu", "2/sigmoid")


class Block(nn.Module):
    def __init__(self, act: nn.Module) -> None:
        super().__init__()
        self.linear, self.act = nn.Linear(8, 8), act

    def forward(self, x: Any) -> Any:
        return self.act(self.linear(x))


def test_one_activation_of_all_blocks_is_named_by_the_block_that_calls_it() -> None:
    act = nn.ReLU()
    blocks = nn.Sequential(Block(act), Block(act), nn.Sequential(Block(act), act), nn.Linear(8, 3))
    ends = torch.randn(6, 8), torch.randn(6, 8)
    every = foldmon.measure(blocks, ends)
    assert every.layers == ("0.act", "1.act", "2.0.act", "2.1")
    assert foldmon.measure(blocks, ends, layers="2.*").layers == ("2.0.act", "2.1")
    own = nn.Sequential(*(Block(nn.ReLU()) for _ in "123"))
    for block, like in zip(own, (blocks[0], blocks[1], blocks[2][0]), strict=True):
        block.linear = like.linear
    np.testing.assert_array_equal(foldmon.measure(own, ends).r2, every.r2[:, :3])


def test_a_shared_block_is_named_where_it_stands_and_counted() -> None:
    block = Block(nn.GELU())
    model = nn.Sequential(block, nn.Sequential(block, block), block)
    assert foldmon.measure(model, (torch.randn(6, 8), torch.randn(6, 8))).layers == (
        "0.act", "1.0.act", "1.0.act:1", "0.act:1",
    )  # fmt: skip


def test_an_activation_called_past_its_block_keeps_its_path() -> None:
    class Reaching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            act = nn.ReLU()
            self.one, self.two = Block(act), nn.ModuleDict({"act": act})

        def forward(self, x: Any) -> Any:
            return self.two["act"](self.one(x))

    layers = foldmon.measure(Reaching(), (torch.randn(6, 8), torch.randn(6, 8))).layers
    assert layers[0] == "one.act"
    assert len(set(layers)) == 2
