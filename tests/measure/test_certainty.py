import numpy as np
import pytest
import torch
from torch import nn

import foldmon
from foldmon.measure.decision import certainty


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
    decision = foldmon.measure(net, (first, torch.randn(6, 4))).decision
    share = net(first).sigmoid().flatten().detach().numpy()
    assert decision.confidence[:, 0] == pytest.approx(np.maximum(share, 1 - share), abs=1e-5)


def test_ruled_out_classes_cost_nothing_and_nan_stays_nan():
    confidence, entropy = certainty(torch.tensor([[0.0, 0.0, -torch.inf], [torch.nan, 0.0, 0.0]])).unbind(1)
    assert confidence[0] == 0.5
    assert entropy[0] == pytest.approx(np.log(2))
    assert entropy[1].isnan()
