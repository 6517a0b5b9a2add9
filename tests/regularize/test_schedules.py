import pytest
import torch
from torch import nn

from foldmon import FoldingRegularizer, measure
from foldmon.regularize import (
    constant,
    cosine,
    early,
    sparse,
    target,
)


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(4, 32),
        nn.ReLU(),
        nn.Linear(32, 32),
        nn.ReLU(),
        nn.Linear(32, 32),
        nn.ReLU(),
        nn.Linear(32, 2),
    )


def optimized(weight, steps=150, **options):
    """The soft phi of every step, and the network."""
    model = network()
    reg = FoldingRegularizer(model, weight, pairs=8, **options)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    generator = torch.Generator().manual_seed(1)
    phis = []
    for _ in range(steps):
        optimizer.zero_grad()
        x = torch.randn(64, 4, generator=generator)
        (0.0 * model(x).sum() + reg(x)).backward()
        optimizer.step()
        phis.append(reg.values["phi"])
    return phis, model


def measured(model):
    generator = torch.Generator().manual_seed(2)
    ends = [torch.randn(64, 4, generator=generator) for _ in range(2)]
    return measure(model, (ends[0], ends[1])).phi


@pytest.mark.parametrize("options", [{}, {"smooth_maximum": True}, {"straight_through": True}])
def test_a_weight_raises_the_measured_folding_and_a_negative_one_flattens(options):
    before = measured(network())
    assert measured(optimized(1.0, steps=60, **options)[1]) > 1.5 * before
    assert measured(optimized(-1.0, steps=60, **options)[1]) < 0.7 * before


def test_the_target_is_reached_from_below_and_from_above_and_held():
    before = soft_phi(network())
    for aim in (2 * before, before / 2):
        phis, _ = optimized(target(aim, weight=20.0))
        assert sum(phis[-50:]) / 50 == pytest.approx(aim, rel=0.2)


def soft_phi(model):
    reg = FoldingRegularizer(model, 1.0, pairs=64)
    reg(torch.randn(64, 4, generator=torch.Generator().manual_seed(1)))
    return reg.values["phi"]


def test_the_early_schedule_ends_the_cost_with_the_term():
    model, passes = network(), []
    model.register_forward_hook(lambda *_: passes.append(1))
    reg = FoldingRegularizer(model, early(0.5, steps=2))
    x = torch.randn(16, 4)
    terms = [reg(x).item() for _ in range(2)]
    assert all(term < 0 for term in terms)
    done = len(passes)
    assert float(reg(x)) == 0.0
    assert len(passes) == done
    assert reg.values["weight"] == 0.0
    assert reg.step == 3


def test_a_schedule_is_any_callable_and_sees_the_last_phi():
    seen = []
    reg = FoldingRegularizer(network(), lambda step, phi: seen.append((step, phi)) or 0.1)
    x = torch.randn(16, 4)
    for _ in range(2):
        reg(x)
    assert seen[0] == (0, None)
    assert seen[1][0] == 1
    assert float(seen[1][1]) > 0


def test_a_sparse_target_is_held_too():
    aim = 2 * soft_phi(network())
    phis, _ = optimized(sparse(target(aim, weight=20.0), every=3), steps=200)
    computed = [phi for phi in phis if phi == phi]
    assert len(computed) == 67
    assert sum(computed[-20:]) / 20 == pytest.approx(aim, rel=0.25)


def test_the_cosine_falls_to_zero_and_stays_there():
    schedule = cosine(0.2, steps=10)
    weights = [schedule(step, None) for step in range(13)]
    assert weights == sorted(weights, reverse=True)
    assert weights[0] == 0.2
    assert weights[10:] == [0.0, 0.0, 0.0]


@pytest.mark.parametrize(
    "make",
    [
        lambda: constant(float("nan")),
        lambda: early(0.1, steps=0),
        lambda: cosine(0.1, steps=0),
        lambda: sparse(0.1, every=0),
        lambda: target(0.0, weight=1.0),
        lambda: target(0.1, weight=-1.0),
    ],
)
def test_senseless_schedules_are_refused(make):
    with pytest.raises(ValueError, match="must be"):
        make()
