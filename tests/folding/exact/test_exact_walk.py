"""Exact folding against dense float64 sampling, rational arithmetic and cases decided by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import foldmon
from foldmon.folding.exact import exact_walk as exact
from foldmon.folding.exact import walk as walks
from tests.folding.cantornet import cantornet, ends, folding
from tests.folding.dense import Sites, dense_folding

POINTS = 20_001


def report_of(
    model: nn.Module, x1: torch.Tensor, x2: torch.Tensor, **options: object
) -> foldmon.FoldingReport:
    return foldmon.measure(model, (x1, x2), method="exact", **options)


def assert_equals_dense(model: nn.Module, shape: tuple[int, ...], sites: Sites) -> foldmon.FoldingReport:
    model = model.double().eval()
    generator = torch.Generator().manual_seed(5)
    x1, x2 = torch.randn(2, 4, *shape, generator=generator, dtype=torch.float64)
    report = report_of(model, x1, x2)
    expected = dense_folding(model, x1, x2, sites, POINTS)
    for got, wanted in zip((report.r1, report.r2, report.r1_cumulative), expected, strict=True):
        np.testing.assert_array_equal(got, wanted)
    assert report.r2.sum() > 0
    return report


def sites_of(model: nn.Module, cls: type[nn.Module], thresholds: tuple[float, ...] = (0.0,)) -> Sites:
    return [(module, thresholds) for module in model.modules() if type(module) is cls]


@pytest.mark.parametrize("depth", [1, 2, 5])
@pytest.mark.parametrize("seed", range(3))
def test_mlp(seed: int, depth: int) -> None:
    torch.manual_seed(seed)
    widths = [6, *[24] * depth]
    layers = [m for a, b in itertools.pairwise(widths) for m in (nn.Linear(a, b), nn.ReLU())]
    model = nn.Sequential(*layers, nn.Linear(24, 3))
    report = assert_equals_dense(model, (6,), sites_of(model, nn.ReLU))
    assert report.exact
    breakpoints = report.r2[:, :-1].sum()
    # Both ends, and the test of one piece, of each of four paths.
    assert report.evaluations <= 1.05 * breakpoints + 3 * 4


@pytest.mark.parametrize(
    ("activation", "thresholds"),
    [
        (nn.LeakyReLU(0.1), (0.0,)),
        (nn.PReLU(), (0.0,)),
        (nn.RReLU(), (0.0,)),
        (nn.ReLU6(), (0.0, 6.0)),
        (nn.Hardtanh(-0.5, 0.75), (-0.5, 0.75)),
        (nn.Hardsigmoid(), (-3.0, 3.0)),
        (nn.Softshrink(0.3), (-0.3, 0.3)),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_activations_that_are_linear_in_pieces(activation: nn.Module, thresholds: tuple[float, ...]) -> None:
    torch.manual_seed(1)
    widths = (6, 20, 20, 20)
    layers = []
    for a, b in itertools.pairwise(widths):
        linear = nn.Linear(a, b)
        linear.weight.data *= 4
        layers += [linear, type(activation)(**_arguments(activation))]
    model = nn.Sequential(*layers)
    assert assert_equals_dense(model, (6,), sites_of(model, type(activation), thresholds)).exact


def _arguments(activation: nn.Module) -> dict[str, float]:
    names = {"LeakyReLU": ["negative_slope"], "Hardtanh": ["min_val", "max_val"], "Softshrink": ["lambd"]}
    return {name: getattr(activation, name) for name in names.get(type(activation).__name__, [])}


def test_hardswish_curves_and_says_so() -> None:
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(6, 20), nn.Hardswish(), nn.Linear(20, 20), nn.Hardswish())
    for layer in (model[0], model[2]):
        layer.weight.data *= 4
    report = assert_equals_dense(model, (6,), sites_of(model, nn.Hardswish, (-3.0, 3.0)))
    assert not report.exact
    assert any("0 not linear" in note or "1 not linear" in note for note in report.notes)


def test_a_curve_behind_the_last_measured_layer_does_not_matter() -> None:
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(6, 20), nn.ReLU(), nn.Linear(20, 8), nn.Hardswish(), nn.Softmax(1))
    x1, x2 = torch.randn(2, 4, 6)
    assert report_of(model, x1, x2).exact


class Residual(nn.Module):
    """Two blocks that share one in-place ReLU, with BatchNorm and a sum around each."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.ModuleList([nn.Linear(12, 12) for _ in range(2)])
        self.second = nn.ModuleList([nn.Linear(12, 12) for _ in range(2)])
        self.norm = nn.ModuleList([nn.BatchNorm1d(12) for _ in range(4)])
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for i in range(2):
            inner = self.relu(self.norm[2 * i](self.first[i](x)))
            x = self.relu(x + self.norm[2 * i + 1](self.second[i](inner)))
        return x


def with_running_statistics(model: nn.Module) -> nn.Module:
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.running_mean.normal_(std=0.2)
            module.running_var.uniform_(0.5, 2.0)
    return model


def test_residual_sums_batch_norm_and_a_reused_inplace_relu() -> None:
    torch.manual_seed(2)
    model = with_running_statistics(Residual())
    report = assert_equals_dense(model, (12,), [(model.relu, (0.0,))])
    assert report.layers == ("relu", "relu:1", "relu:2", "relu:3")
    assert report.exact


def cnn(pool: nn.Module, after: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(inplace=True), pool,
        nn.Conv2d(4, 6, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(6 * after**2, 12), nn.ReLU(),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("pool", "after"),
    [
        (nn.MaxPool2d(2), 3),
        (nn.MaxPool2d(3, stride=2, padding=1), 3),
        (nn.AvgPool2d(2), 3),
        (nn.AdaptiveMaxPool2d(2), 2),
        (nn.AdaptiveAvgPool2d(2), 2),
    ],
    ids=["max", "overlapping max", "average", "adaptive max", "adaptive average"],
)
def test_cnn_with_pooling(pool: nn.Module, after: int) -> None:
    torch.manual_seed(3)
    model = with_running_statistics(cnn(pool, after))
    assert assert_equals_dense(model, (1, 6, 6), sites_of(model, nn.ReLU)).exact


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_max_pooling_costs_one_evaluation_a_kink(dtype: torch.dtype) -> None:
    """Breakpoints of all layers but the last, where the pooled index switches being one too."""
    torch.manual_seed(3)
    model = with_running_statistics(cnn(nn.MaxPool2d(2), 3)).double().eval()
    x1, x2 = torch.randn(2, 4, 1, 6, 6, dtype=torch.float64)
    report = report_of(model, x1, x2, dtype=dtype)
    t = torch.linspace(0, 1, 40_001, dtype=torch.float64).reshape(-1, 1, 1, 1)
    kinks = 0
    with torch.no_grad():
        for a, b in zip(x1, x2, strict=True):
            value, index = F.max_pool2d(model[:3](torch.lerp(a, b, t)), 2, return_indices=True)
            positive = (value[1:] > 0) & (value[:-1] > 0)  # the others are where a unit leaves 0
            kinks += int(((index[1:] != index[:-1]) & positive).sum())
    assert kinks > 20
    assert report.exact
    assert report.evaluations <= 1.05 * (report.r2[:, :-1].sum() + kinks) + 2 * 4


class Bending(nn.Module):
    """ReLU layers with functions between them that bend without being activations."""

    def __init__(self, bend) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(5, 16), nn.Linear(16, 16)
        self.relu, self.last = nn.ReLU(), nn.ReLU()
        self.bend = bend

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.second(self.bend(self.relu(self.first(x)) - 0.3)))


@pytest.mark.parametrize(
    "bend",
    [
        torch.abs,
        lambda z: z.clamp(-0.1, 0.2),
        lambda z: torch.clamp_max(z, 0.1),
        lambda z: torch.maximum(z, z.flip(1)),
        lambda z: torch.where(z > 0.1, z, 0.5 * z + 0.05),
        lambda z: z - z.max(1, keepdim=True).values,
        lambda z: z.topk(16, 1).values,
    ],
    ids=["abs", "clamp", "clamp_max", "maximum", "where", "max", "topk"],
)
def test_hidden_bends(bend) -> None:
    torch.manual_seed(4)
    model = Bending(bend)
    sites = [(model.relu, (0.0,)), (model.last, (0.0,))]
    assert assert_equals_dense(model, (5,), sites).exact


def imprecise(z: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    return z.to(dtype).to(z.dtype)


class Curve(nn.Module):
    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return z + torch.tanh(3 * z)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "bend",
    [
        lambda z: torch.div(z, 0.1, rounding_mode="floor"),
        lambda z: imprecise(3 * z, torch.int32),
        lambda z: imprecise(z, torch.bfloat16),
        lambda z: z + torch.einsum("bi,bi->b", [z, z])[:, None],
        lambda z: torch.where(z > 0.1, z, 0.5 * z),
        lambda z: z + 0.3 * torch.sign(z - 0.1),
        lambda z: F.rrelu(z, 0.1, 0.4, training=True),
        lambda z: z * (z > 0.1),
        lambda z: z + z[torch.arange(len(z)), z.argmax(1)][:, None],
        torch.jit.script(Curve()),
        torch.jit.trace(lambda z: z + torch.tanh(3 * z), torch.zeros(2, 16), check_trace=False),
    ],
    ids=[
        "floor", "integers", "bfloat16", "quadratic", "jump", "sign", "random", "mask", "argmax",
        "TorchScript module", "traced function",
    ],
)  # fmt: skip
def test_what_is_not_linear_in_pieces_is_not_called_exact(bend, dtype: torch.dtype) -> None:
    torch.manual_seed(4)
    x1, x2 = torch.randn(2, 8, 5, dtype=dtype)
    report = report_of(Bending(bend).to(dtype), x1, x2)
    assert not report.exact
    assert "refined adaptively, not exact" in report.notes[-1]


class Wave(nn.Module):
    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return z + 0.05 * torch.sin(7 * z)


class Stairs(nn.Module):
    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return torch.where(z > 0, z + 1, z)


class TwoBends(nn.Module):
    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return (z - 0.2).abs() + z.clamp(max=0.5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("activation", "exact"), [(Wave, False), (Stairs, False), (TwoBends, True)], ids=lambda value: str(value)
)
def test_a_registered_class_is_certified_or_not(
    activation: type[nn.Module], exact: bool, dtype: torch.dtype
) -> None:
    """Its bends, curves and jumps are hidden: they show in the middles only."""
    foldmon.register_activation(activation, 0.0)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 16), activation(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 4))
    x1, x2 = torch.randn(2, 4, 5)
    report = report_of(model, x1, x2, dtype=dtype)
    assert report.exact == exact
    assert report.evaluations < 2000
    if exact:
        expected = dense_folding(
            model.double(), x1.double(), x2.double(), [(model[1], (0.0,)), (model[3], (0.0,))], POINTS
        )
        np.testing.assert_array_equal(report.r2, expected[1])


def test_functional_activations() -> None:
    class Functional(Residual):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.relu(self.second[0](F.leaky_relu(self.first[0](x), 0.2)))

    torch.manual_seed(5)
    model = Functional().double()
    same = nn.Sequential(model.first[0], nn.LeakyReLU(0.2), model.second[0], nn.ReLU()).double()
    x1, x2 = torch.randn(2, 3, 12, dtype=torch.float64)
    functional, modules = report_of(model, x1, x2), report_of(same, x1, x2)
    assert functional.exact
    np.testing.assert_array_equal(functional.r1_cumulative, modules.r1_cumulative)
    np.testing.assert_array_equal(functional.r2, modules.r2)


@pytest.mark.parametrize("activation", [nn.GELU, nn.Tanh, nn.SiLU])
def test_smooth_activations_are_refined(activation: type[nn.Module]) -> None:
    torch.manual_seed(6)
    layers = [m for _ in range(3) for m in (nn.Linear(16, 16), activation())]
    for layer in layers[::2]:
        layer.weight.data *= 3
    model = nn.Sequential(*layers)
    report = assert_equals_dense(model, (16,), sites_of(model, activation))
    assert not report.exact
    assert "not linear in pieces" in report.notes[-1]


@pytest.mark.parametrize("blocks", range(1, 11))
def test_cantornet(blocks: int) -> None:
    report = report_of(cantornet(blocks), *ends())
    assert (report.r1_cumulative[0, -1], report.r2.sum()) == folding(blocks)
    assert report.exact


def test_cantornet_in_float32_in_a_copy_in_float64() -> None:
    start, end = ends()
    model = cantornet(8).float()
    report = report_of(model, start, end, dtype=torch.float64)
    assert (report.r1_cumulative[0, -1], report.r2.sum()) == folding(8)
    assert next(model.parameters()).dtype == torch.float32


# Degenerate cases. A linear layer reads the two inputs; x runs from -1 to 1 unless said otherwise.


def line(weight: list[list[float]], bias: list[float], x1: float = -1.0, x2: float = 1.0) -> tuple[int, int]:
    layer = nn.Linear(1, len(bias)).double()
    layer.weight.data = torch.tensor(weight, dtype=torch.float64)
    layer.bias.data = torch.tensor(bias, dtype=torch.float64)
    a, b = (torch.tensor([[x]], dtype=torch.float64) for x in (x1, x2))
    report = report_of(nn.Sequential(layer, nn.ReLU()), a, b)
    assert report.exact
    return int(report.r1[0, 0]), int(report.r2[0, 0])


def test_a_unit_that_is_zero_all_along_has_the_lower_symbol() -> None:
    assert line([[0.0], [1.0]], [0.0, 0.0]) == (1, 1)


def test_two_units_crossing_at_once_are_two_changes() -> None:
    assert line([[1.0], [-1.0]], [0.0, 0.0]) == (2, 2)


def test_a_crossing_at_the_start_and_one_at_the_end() -> None:
    """At 0 a unit is not above: it rises right after the start, or reaches 0 at the end only."""
    assert line([[1.0]], [0.0], 0.0, 1.0) == (1, 1)
    assert line([[-1.0]], [0.0], 0.0, 1.0) == (0, 0)
    assert line([[1.0]], [0.0], 1.0, 0.0) == (1, 1)


def test_equal_ends_do_not_fold() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU())
    x = torch.randn(3, 4)
    report = report_of(model, x, x)
    assert report.exact
    assert not report.r2.any()
    assert report.phi == 0.0


def test_a_unit_that_an_earlier_layer_holds_at_its_threshold() -> None:
    """relu(x - 1/3) + relu(-x - 1/3) is 0 in the middle third: down at -1/3, up at 1/3."""
    first, second = nn.Linear(1, 2), nn.Linear(2, 1, bias=False)
    first.weight.data, first.bias.data = torch.tensor([[1.0], [-1.0]]), torch.tensor([-1 / 3, -1 / 3])
    second.weight.data = torch.ones(1, 2)
    model = nn.Sequential(first, nn.ReLU(), second, nn.ReLU())
    for dtype in (torch.float32, torch.float64):
        report = report_of(model, torch.tensor([[-1.0]]), torch.tensor([[1.0]]), dtype=dtype)
        assert report.r2.tolist() == [[2, 2]]
        assert report.r1.tolist() == [[2, 1]]


def test_a_touch_is_no_change() -> None:
    """relu(x) + relu(-x) reaches 0 in a single point."""
    first, second = nn.Linear(1, 2), nn.Linear(2, 1, bias=False)
    first.weight.data, first.bias.data = torch.tensor([[1.0], [-1.0]]), torch.zeros(2)
    second.weight.data = torch.ones(1, 2)
    model = nn.Sequential(first, nn.ReLU(), second, nn.ReLU())
    report = report_of(model, torch.tensor([[-0.7]]), torch.tensor([[1.0]]), dtype=torch.float64)
    assert report.r2.tolist() == [[2, 0]]


# Bounds and choices.


@pytest.fixture
def deep() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(*[m for _ in range(4) for m in (nn.Linear(16, 16), nn.ReLU())])


@pytest.mark.parametrize("bound", [16, 40, 100])
def test_a_bound_is_kept_and_said(deep: nn.Sequential, bound: int) -> None:
    x1, x2 = torch.randn(2, 8, 16)
    full = report_of(deep, x1, x2)
    report = report_of(deep, x1, x2, max_evaluations=bound)
    assert report.evaluations <= bound < full.evaluations
    assert not report.exact
    assert f"max_evaluations={bound} reached" in report.notes[-1]
    assert (report.r1 <= report.r2).all()
    np.testing.assert_array_equal(report.r2[:, 0], full.r2[:, 0])  # a straight line needs its ends only


def test_a_bound_that_suffices_changes_nothing(deep: nn.Sequential) -> None:
    x1, x2 = torch.randn(2, 8, 16)
    full = report_of(deep, x1, x2)
    bounded = report_of(deep, x1, x2, max_evaluations=2 * full.evaluations)
    assert bounded.exact
    np.testing.assert_array_equal(bounded.r1_cumulative, full.r1_cumulative)


def test_a_bound_below_two_a_path_is_refused(deep: nn.Sequential) -> None:
    with pytest.raises(ValueError, match="allow at least 16"):
        report_of(deep, *torch.randn(2, 8, 16), max_evaluations=15)


def test_layers_are_chosen_from_the_whole_walk(deep: nn.Sequential) -> None:
    x1, x2 = torch.randn(2, 8, 16)
    full = report_of(deep, x1, x2)
    some = report_of(deep, x1, x2, layers=["3", "5"])
    assert some.layers == ("3", "5")
    np.testing.assert_array_equal(some.r1, full.r1[:, 1:3])
    np.testing.assert_array_equal(some.r2, full.r2[:, 1:3])
    assert some.evaluations < full.evaluations


def test_integer_symbols_have_no_exact_folding() -> None:
    class Pool(nn.MaxPool1d):
        pass

    foldmon.register_activation(Pool, foldmon.SELECTED_INDEX)
    with pytest.raises(ValueError, match='use method="sampled"'):
        report_of(nn.Sequential(Pool(2)), *torch.randn(2, 3, 2, 8))


def test_half_precision_is_refused(deep: nn.Sequential) -> None:
    with pytest.raises(ValueError, match=r"pass dtype=torch\.float32"):
        report_of(deep.bfloat16(), *torch.randn(2, 3, 16))
    assert report_of(deep, *torch.randn(2, 3, 16), dtype=torch.float32).exact


def test_little_memory_changes_nothing(deep: nn.Sequential, monkeypatch: pytest.MonkeyPatch) -> None:
    x1, x2 = torch.randn(2, 8, 16)
    full = report_of(deep, x1, x2, dtype=torch.float64)
    monkeypatch.setattr(walks, "KEPT_BYTES", 20_000)
    monkeypatch.setattr(exact, "KEPT_BYTES", 4_000)
    monkeypatch.setattr(exact.ExactWalk, "at_once", 3)
    small = report_of(deep, x1, x2, dtype=torch.float64, chunk=2)
    assert small.evaluations == full.evaluations
    np.testing.assert_array_equal(small.r1_cumulative, full.r1_cumulative)
    np.testing.assert_array_equal(small.r2, full.r2)


def test_decisions_are_weighted_by_their_share_of_the_path() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 3))
    for parameter in model.parameters():
        parameter.data *= 2
    x1, x2 = 3 * torch.randn(2, 32, 16)
    exact = report_of(model, x1, x2).decision
    dense = foldmon.measure(model, (x1, x2), points=4001).decision
    assert exact is not None
    assert dense is not None
    assert dense.mean_elsewhere > 0.01
    np.testing.assert_array_equal(exact.ends, dense.ends)
    np.testing.assert_allclose(exact.elsewhere, dense.elsewhere, atol=0.06)


def test_the_model_and_the_random_state_are_left_alone(deep: nn.Sequential) -> None:
    before = torch.get_rng_state()
    deep.train()
    report_of(deep, torch.zeros(2, 16), torch.ones(2, 16))
    assert deep[0].training
    assert not deep[1]._forward_pre_hooks
    assert torch.equal(torch.get_rng_state(), before)
