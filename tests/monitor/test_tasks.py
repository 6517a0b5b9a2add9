"""Every kind of task is followed in training by its criterion, and training notices nothing."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

import foldmon
from foldmon.journal.following import read_journal
from tests.fixtures.models import gpt2

X = torch.randn(120, 6, generator=torch.Generator().manual_seed(1))
Y = 10 + X[:, :1] * X[:, 1:2]


def net(outputs: int = 1, *tail: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, outputs), *tail
    )


def trained(model: nn.Module, criterion: Any, data: Any = None, steps: int = 20, **options: Any) -> Any:
    """The monitor, closed, or None where no data are watched."""
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    monitor = None
    if data is not None:
        monitor = foldmon.watch(model, data, every=5, exporters=[], **options)
    for _ in range(steps):
        loss = criterion(model(X), Y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if monitor is not None:
            monitor.flush()
    if monitor is not None:
        monitor.close()
    return monitor


@pytest.mark.parametrize(
    "criterion", [nn.MSELoss(), F.l1_loss, nn.HuberLoss(), lambda out, y: (out - y).abs().mean()]
)
def test_a_regression_is_followed_by_its_criterion(criterion, tmp_path):
    model = net()
    data = DataLoader(TensorDataset(X, Y), batch_size=16)
    monitor = trained(model, criterion, data, loss=criterion, log_dir=tmp_path)
    with torch.no_grad():
        truth = criterion(model(X), Y).item()
    # 120 inputs make 40 blocks of three.
    assert monitor.report.held_out.loss == pytest.approx(truth, rel=1e-4)
    assert monitor.report.held_out.accuracy is None
    assert monitor.report.decision is None
    records = [r for r in read_journal(monitor.journal_path) if r["kind"] == "probe"]
    assert records[-1]["held_out"]["loss"] < records[0]["held_out"]["loss"]
    assert records[-1]["held_out"]["correct"] is records[-1]["held_out"]["predicted"] is None
    assert not any("class" in reason for warning in monitor.warnings for reason in warning.reasons)
    assert "held-out: loss" in monitor.summary()


def test_a_language_model_is_followed_by_its_own_loss(tmp_path):
    torch.manual_seed(0)
    model = gpt2()
    ids = torch.randint(2, int(model.config.vocab_size), (64, 9))
    ids[:, 3:] = ids[:, :1]
    data = [{"input_ids": row, "labels": row.where(torch.arange(9) > 1, -100)} for row in ids]
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    monitor = foldmon.watch(model, DataLoader(data, 8), every=5, exporters=[], log_dir=tmp_path)
    for _ in range(20):
        optimizer.zero_grad()
        model(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()
        monitor.flush()
    monitor.close()
    model.eval()
    with torch.no_grad():
        truth = model(input_ids=ids, labels=ids.where(torch.arange(9) > 1, -100)).loss.item()
    assert monitor.report.held_out.loss == pytest.approx(truth, rel=1e-3)
    assert monitor.history[0].held_out.loss > truth
    assert monitor.report.held_out.accuracy > 0.1


class Wandering(nn.Module):
    """A criterion that draws random numbers, and keeps something from call to call."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        self.calls += 1
        return F.mse_loss(output + 0.01 * torch.randn_like(output), target) * (1 + 0.1 * self.calls)


def test_training_notices_nothing_of_a_criterion_that_is_called_beside_it(tmp_path):
    weights = []
    for watched in (False, True):
        model, criterion = net(), Wandering()
        torch.manual_seed(3)
        trained(model, criterion, (X, Y) if watched else None, loss=criterion, log_dir=tmp_path)
        assert int(criterion.calls) == 20
        weights.append([*model.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*weights, strict=True))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"loss": "mse"}, TypeError, "loss must be a function"),
        ({"loss": nn.NLLLoss()}, ValueError, r"loss= failed: .*\nIt is called as loss\(output, target\)"),
        ({"loss": lambda output: output}, ValueError, "loss= failed: TypeError"),
        ({"loss": lambda output, target: 0.5}, ValueError, "loss= gave float in place of a tensor"),
        ({"classes": "no"}, TypeError, "classes must be True or False, a function"),
        ({"classes": lambda output: output["logits"]}, ValueError, "classes= could not read an output"),
    ],
)
def test_what_cannot_be_called_is_refused_at_once(options, error, message):
    with pytest.raises(error, match=message):
        foldmon.watch(net(), (X, Y), exporters=[], **options)


def test_classes_as_the_user_says(tmp_path):
    policy = net(4)
    monitor = foldmon.watch(policy, X, classes=False, exporters=[], log_dir=tmp_path / "a")
    assert monitor.probe().decision is None
    monitor = foldmon.watch(policy, X, classes=lambda q: q[:, :2], exporters=[], log_dir=tmp_path / "b")
    report = monitor.probe()
    assert report.decision is not None
    assert report.decision.of == 2
    assert report.held_out.predictions.predicted.max() <= 1


def test_a_loss_that_begins_to_fail_ends_its_own_series_only(tmp_path, caplog):
    labels, steps = (X[:, 0] > 0).long(), []

    def training_loss(output, _):
        steps.append(None)
        return F.cross_entropy(output, labels)

    def held_out_loss(output, target):
        if len(steps) > 10:
            raise KeyError("schedule")
        return F.cross_entropy(output, target)

    monitor = trained(net(2), training_loss, (X, labels), loss=held_out_loss, log_dir=tmp_path)
    records = [r for r in read_journal(monitor.journal_path) if r["kind"] == "probe"]
    assert records[0]["held_out"]["loss"] is not None
    assert records[-1]["held_out"]["loss"] is None
    assert records[-1]["held_out"]["accuracy"] is not None
    assert records[-1]["step"] == 20
    assert caplog.text.count("loss= failed: KeyError: 'schedule'; from now on") == 1
