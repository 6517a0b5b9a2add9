import numpy as np
import pytest
import torch
from torch import nn

import foldmon
from foldmon.folding.results.decision import LEADING, certainty


@pytest.mark.parametrize("method", ["sampled", "exact", "auto"])
def test_certainty_at_the_ends_is_that_of_the_models_softmax(method):
    net = nn.Sequential(nn.Linear(4, 12), nn.ReLU(), nn.Linear(12, 3))
    first, second = torch.randn(6, 4), torch.randn(6, 4)
    decision = foldmon.measure(net, (first, second), method=method).decision
    for side, inputs in enumerate((first, second)):
        share = net(inputs).softmax(1).detach()
        assert decision.confidence[:, side] == pytest.approx(share.amax(1).numpy(), abs=1e-5)
        entropy = torch.distributions.Categorical(share).entropy().numpy()
        assert decision.entropy[:, side] == pytest.approx(entropy, abs=1e-5)


def test_a_single_logit_is_certain_as_its_sigmoid():
    net = nn.Sequential(nn.Linear(4, 12), nn.ReLU(), nn.Linear(12, 1))
    first = torch.randn(6, 4)
    decision = foldmon.measure(net, (first, torch.randn(6, 4)), classes=True).decision
    share = net(first).sigmoid().flatten().detach().numpy()
    assert decision.confidence[:, 0] == pytest.approx(np.maximum(share, 1 - share), abs=1e-5)


def test_ruled_out_classes_cost_nothing_and_nan_stays_nan():
    found = certainty(torch.tensor([[0.0, 0.0, -torch.inf], [torch.nan, 0.0, 0.0]]))
    assert found[0, 0] == pytest.approx(np.log(2))
    assert found[0, 2 + LEADING : 5 + LEADING].tolist() == [0.5, 0.5, 0.0]
    assert found[1, 0].isnan()


@pytest.mark.parametrize("classes", [2, 4, 7])
def test_the_leading_classes_are_the_most_probable_ones(classes):
    net = nn.Sequential(nn.Linear(4, 12), nn.ReLU(), nn.Linear(12, classes))
    first, second = torch.randn(6, 4), torch.randn(6, 4)
    decision = foldmon.measure(net, (first, second), classes=True).decision
    share = net(torch.stack([first, second], 1)).softmax(-1).detach().numpy()
    order = np.argsort(-share, -1)[..., :LEADING]
    assert decision.of == classes
    assert decision.leading.tolist() == order.tolist()
    assert decision.probabilities == pytest.approx(np.take_along_axis(share, order, -1), abs=1e-6)
    assert decision.ends.tolist() == order[..., 0].tolist()


def test_the_journal_keeps_small_probabilities_apart():
    net = nn.Sequential(nn.Linear(1, 2), nn.ReLU(), nn.Linear(2, 3))
    nn.init.zeros_(net[2].weight)
    net[2].bias.data = torch.tensor([0.0, 20.0, -10.0])
    kept = foldmon.measure(net, (torch.zeros(1, 1), torch.ones(1, 1))).to_dict()["decision"]
    assert kept["leading"] == [[[1, 0, 2]] * 2]
    assert kept["probabilities"][0][0] == pytest.approx([1.0, np.exp(-20), np.exp(-30)], rel=1e-3)
