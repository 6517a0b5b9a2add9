"""How many held-out inputs are followed, and how many of them a probe predicts."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import foldmon
from foldmon.config.options import Config
from foldmon.folding.data.drawing import draw_panel
from foldmon.folding.held_out import HeldOutPanel
from foldmon.sampling.plan import Plan


@pytest.fixture
def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 3))


def labelled(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(count, 4, generator=torch.Generator().manual_seed(1)), torch.arange(count) % 3


@pytest.mark.parametrize(
    ("allowance", "samples", "expected"),
    [(0.0, 1200, 512), (1e6, 1200, 1200), (0.0, 100, 100), (1e6, 100, 100)],
)
def test_more_than_512_are_followed_only_where_they_are_cheap(net, tmp_path, allowance, samples, expected):
    """Of an allowance of nothing everything is dear, of days nothing."""
    options = {"allowance": allowance, "samples": samples, "every": 1, "exporters": [], "background": False}
    with foldmon.watch(net, labelled(1300), log_dir=tmp_path, **options) as monitor:
        assert abs(monitor.probe().held_out.inputs - expected) < 32, "what fills no last block is left out"


@pytest.mark.parametrize(
    ("inputs", "pairs", "points", "rows"),
    [
        (512, 64, 33, 512),  # all of both
        (512, 48, 33, 384),  # the same share
        (512, 8, 33, 256),  # half, where the share of the pairs is small
        (512, 4, 33, 128),  # as many as points are walked
        (512, 4, 9, 32),
        (512, 1, 33, 16),  # half as many
        (2048, 16, 33, 512),
        (2048, 16, 9, 512),
    ],
)
def test_a_small_share_of_the_pairs_does_not_leave_the_warning_blind(net, inputs, pairs, points, rows):
    drawn, held_out = draw_panel(labelled(2100), 64, inputs)
    plan = Plan(drawn, Config(), None, HeldOutPanel(held_out), labels=held_out.labels)
    found = plan.predicted(plan.prober(net), None if pairs == 64 else np.arange(pairs), 0, points)
    assert len(found.predictions.predicted) == rows


def test_what_a_probe_passes_forward_is_known_beforehand(net):
    drawn, held_out = draw_panel(labelled(2100), 64, 2048)
    plan = Plan(drawn, Config(), None, HeldOutPanel(held_out), labels=held_out.labels)
    assert plan.grids == [33, 17, 9]
    prober = plan.prober(net)
    for pairs, points in ((64, 33), (20, 33), (8, 17), (4, 9)):
        report = plan.measure(prober, None if pairs == 64 else np.arange(pairs), 0, points)
        predicted = len(report.held_out.predictions.predicted)
        # Blocks of 64 inputs: what does not fill one is made up for later.
        assert abs(report.evaluations + predicted - plan.rows(pairs, points)) < 64
    assert plan.rows(64, 33) == 64 * 33 + 2048
    assert Plan(drawn, Config(), None).rows(2, 9) == 18


def test_a_resumed_panel_follows_as_many_as_before():
    _, held_out = draw_panel(labelled(1300), 64, 1200)
    first, again = HeldOutPanel(held_out), HeldOutPanel(held_out)
    first.follow(640)
    again.load_state_dict(first.state_dict())
    assert again.inputs == first.inputs == 640
