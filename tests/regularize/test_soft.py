import pytest
import torch
from torch import nn

from foldmon import FoldingRegularizer, measure
from foldmon.regularize.batch_pairs import pairs_in_batch
from foldmon.regularize.soft import (
    Softness,
    distances,
    soft_folding,
    soft_symbols,
)


def network(activation=nn.ReLU, dtype=torch.float64, width=24):
    torch.manual_seed(0)
    layers = [nn.Linear(4, width), activation(), nn.Linear(width, width), activation(), nn.Linear(width, 3)]
    return nn.Sequential(*layers).to(dtype)


def batch(dtype=torch.float64):
    return torch.randn(40, 4, generator=torch.Generator().manual_seed(1), dtype=dtype)


def sampled_phi(model, x, *, pairs, points):
    drawn, _ = pairs_in_batch(x, None, pairs, torch.Generator().manual_seed(0))
    return measure(model, drawn, points=points).phi


def soft_phi(model, x, **options):
    reg = FoldingRegularizer(model, 1.0, **options)
    reg(x)
    return reg.values["phi"]


def test_a_walk_by_hand():
    # One unit goes 0, 1, 0 and another 0, 0, 1: r1 = 1, r2 = 3.
    z = torch.tensor([[-1.0, -1.0], [1.0, -1.0], [-1.0, 1.0]])
    from_start, steps = distances((z > 0).float().unsqueeze(0), points=3)
    assert from_start.tolist() == [[1.0, 1.0]]
    assert steps.tolist() == [[1.0, 2.0]]
    softness = Softness(temperature=1e-6, smooth=False, straight_through=False)
    assert soft_folding([(z, (0.0,))], 3, softness, z.device).tolist() == pytest.approx([2 / 3])


def test_a_unit_that_crosses_two_cuts_at_once_counts_once():
    z = torch.tensor([[-1.0], [7.0], [-1.0]])
    from_start, _ = distances(soft_symbols(z, (0.0, 6.0), 1e-3), points=3)
    assert from_start.tolist() == [[1.0, 0.0]]


@pytest.mark.parametrize("smooth", [False, True])
@pytest.mark.parametrize("activation", [nn.ReLU, nn.ReLU6, nn.GELU, nn.Hardtanh])
def test_the_value_converges_to_the_sampled_folding(activation, smooth):
    model, x = network(activation), 3 * batch()
    truth = sampled_phi(model, x, pairs=32, points=9)
    errors = [
        abs(soft_phi(model, x, pairs=32, points=9, temperature=t, smooth_maximum=smooth) - truth)
        for t in (1.0, 1e-2, 1e-4, 1e-6)
    ]
    assert truth > 0.02
    assert errors[-1] < 1e-4 * truth
    assert errors[-1] < errors[1] < errors[0]


@pytest.mark.parametrize("activation", [nn.ReLU, nn.ReLU6])
def test_straight_through_counts_hard_symbols(activation):
    model, x = network(activation), 3 * batch()
    truth = sampled_phi(model, x, pairs=16, points=7)
    assert soft_phi(model, x, pairs=16, points=7, straight_through=True) == pytest.approx(truth, rel=1e-12)


@pytest.mark.parametrize("smooth", [False, True])
@pytest.mark.parametrize("activation", [nn.ReLU, nn.Tanh, nn.ReLU6, nn.GELU])
def test_the_gradient_agrees_with_finite_differences(activation, smooth):
    model, x = network(activation), batch()
    FoldingRegularizer(model, 1.0, smooth_maximum=smooth)(x).backward()
    parameters = [p for p in model.parameters() if p.grad is not None]
    generator = torch.Generator().manual_seed(2)
    directions = [torch.randn(p.shape, generator=generator, dtype=p.dtype) for p in parameters]
    slope = sum(float((p.grad * d).sum()) for p, d in zip(parameters, directions, strict=True))

    def moved(step):
        with torch.no_grad():
            for p, d in zip(parameters, directions, strict=True):
                p.add_(d, alpha=step)
        value = FoldingRegularizer(model, 1.0, smooth_maximum=smooth)(x).item()
        with torch.no_grad():
            for p, d in zip(parameters, directions, strict=True):
                p.sub_(d, alpha=step)
        return value

    h = 1e-7
    assert abs(slope) > 1e-3
    assert (moved(h) - moved(-h)) / (2 * h) == pytest.approx(slope, rel=1e-5)


@pytest.mark.parametrize("factor", [1e-4, 1e3])
def test_rescaling_a_layer_changes_neither_value_nor_direction(factor):
    x = batch()
    plain, scaled = network(), network()
    with torch.no_grad():
        scaled[2].weight.mul_(factor)
        scaled[2].bias.mul_(factor)
    terms = [FoldingRegularizer(model, 1.0)(x) for model in (plain, scaled)]
    assert terms[0].item() == pytest.approx(terms[1].item(), rel=1e-9)
    for term in terms:
        term.backward()
    # A function of the direction of a layer alone has a slope of 0 along its length ...
    radial = (plain[2].weight * plain[2].weight.grad).sum() + (plain[2].bias * plain[2].bias.grad).sum()
    assert radial.item() == pytest.approx(0.0, abs=1e-12)
    # ... and slopes elsewhere as the lengths say.
    torch.testing.assert_close(scaled[2].weight.grad * factor, plain[2].weight.grad, rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("options", [{}, {"straight_through": True}, {"smooth_maximum": True}])
def test_a_network_that_never_crosses_gives_zero_and_finite_slopes(dtype, options):
    model = network(dtype=dtype)
    with torch.no_grad():
        for layer in (model[0], model[2]):
            layer.weight.zero_()
            layer.bias.fill_(1.0)
    term = FoldingRegularizer(model, 1.0, **options)(batch(dtype))
    term.backward()
    assert term.item() == 0.0
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_stays_near_single(dtype):
    exact = soft_phi(network(dtype=torch.float32), batch(torch.float32))
    assert soft_phi(network(dtype=dtype), batch(dtype)) == pytest.approx(exact, rel=0.1)
