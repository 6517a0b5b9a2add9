"""The private copy: which hooks travel with it."""

from __future__ import annotations

import torch
from torch import nn

import foldmon
from foldmon.sampling.replica import Replica
from tests.fixtures.models import images, segformer


def test_hooks_by_which_transformers_collects_hidden_states_travel() -> None:
    model = segformer().eval()
    with torch.no_grad():
        expected = model(images(32)(2).zero_()).logits  # installs them, at the first pass
    replica = Replica(model)
    assert replica.stripped == 0
    assert torch.equal(replica.module(images(32)(2).zero_()).logits, expected)
    with foldmon.watch(model, images(32)(20), exporters=[], points=3, pairs=4) as monitor:
        assert monitor.probe().r2.sum() > 0


def test_hooks_of_the_users_do_not() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
    model[0].register_forward_hook(lambda *_: None)
    replica = Replica(model)
    assert replica.stripped == 1
    assert not replica.module[0]._forward_hooks


def test_a_graph_of_torch_fx_has_a_copy_of_its_own() -> None:
    model = torch.fx.symbolic_trace(nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3)))
    monitor = foldmon.watch(model, torch.randn(40, 8), exporters=[])
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for _ in range(3):
        model(torch.randn(4, 8)).sum().backward()
        optimizer.step()
    monitor.close()
    replica = Replica(model)
    assert torch.equal(replica.module(torch.ones(2, 8)), model(torch.ones(2, 8)))
    assert not any("training thread" in note for note in monitor.coverage.notes)


def test_the_copy_is_compared_with_the_model_ever_more_seldom(mlp, held_out, monkeypatch):
    with foldmon.watch(mlp, held_out, every=10**6, exporters=[]) as monitor:
        monitor.flush()
        subject, compared = monitor._subject, []
        assert subject._snapshots == 1
        monkeypatch.setattr(subject, "_compare", lambda strategy: compared.append(subject._snapshots))
        for _ in range(31):
            subject.snapshot()
    assert compared == [4, 8, 16, 32]


def test_a_buffer_that_is_exchanged_for_another_is_followed(mlp) -> None:
    """As running statistics that a forward pass assigns instead of writing to them."""
    mlp.register_buffer("scale", torch.tensor(1.0))
    mlp.register_buffer("shift", torch.zeros(3))
    replica = Replica(mlp)
    for value in (2.0, 3.0):
        mlp.scale, mlp.shift = torch.tensor(value), torch.full((3,), value)
        assert replica.refresh()
        assert replica.module.scale.item() == value
        assert replica.module.shift.tolist() == [value] * 3
        assert replica.module.shift is not mlp.shift


def test_the_copy_stays_in_eval_mode_when_it_is_given_back_what_it_held(mlp) -> None:
    hidden = nn.Linear(3, 3)
    mlp.kept = [hidden]  # registered nowhere: no one else would tell it
    replica = Replica(mlp.train())
    replica.put_back()
    assert not any(module.training for module in replica.modules)
    assert len(replica.modules) == len([*mlp.modules()]) + 1
    assert all(module.training for module in (*mlp.modules(), hidden))
