"""Predictions of held-out inputs, beside what a validation would write."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from foldmon.folding.data.drawing import draw_panel
from foldmon.folding.data.labels import HeldOut
from foldmon.folding.held_out import HeldOutPanel
from foldmon.folding.model.prober import Prober
from foldmon.folding.results.blocks import BlockPanel
from foldmon.folding.results.decision import certainty
from foldmon.folding.sampled.report import measure_sampled
from foldmon.monitor.summary import report_table

CLASSES = 3


@pytest.fixture
def data() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    labels = torch.arange(600) % CLASSES
    return torch.randn(600, 8, generator=generator) + labels[:, None], labels


def validated(model: nn.Module, inputs: Tensor, labels: Tensor) -> tuple[list[float], list[bool]]:
    """One input after the other: cross-entropy in nats by its definition, and whether the class is right."""
    losses, correct = [], []
    for one, label in zip(inputs, labels.tolist(), strict=True):
        with torch.no_grad():
            logits = model(one[None])[0].double().tolist()
        total = sum(math.exp(z) for z in logits)
        losses.append(-math.log(math.exp(logits[label]) / total))
        correct.append(max(range(len(logits)), key=logits.__getitem__) == label)
    return losses, correct


def made(model: nn.Module, data, **options) -> tuple[Prober, HeldOut]:
    pairs, held_out = draw_panel(data, 8, **options)
    return Prober(model, pairs, labels=held_out.labels), held_out


def test_loss_and_accuracy_are_those_of_a_validation(mlp, data):
    prober, held_out = made(mlp, data, samples=128)
    losses, correct = validated(mlp.eval(), held_out.inputs, torch.from_numpy(held_out.classes))
    found = HeldOutPanel(held_out).measure(prober, 128, step=0)
    assert found.measured is None
    assert found.inputs == 128
    assert found.predictions.losses == pytest.approx(losses, rel=1e-4)
    assert found.predictions.correct.tolist() == correct
    assert found.loss == pytest.approx(sum(losses) / 128, rel=1e-5)
    assert found.accuracy == pytest.approx(sum(correct) / 128)
    assert found.loss_interval[0] < found.loss < found.loss_interval[1]
    assert found.accuracy_interval[0] < found.accuracy < found.accuracy_interval[1]
    assert str(found).endswith("over 128 inputs")


def test_a_share_at_a_time_follows_a_model_in_training(mlp, data):
    prober, held_out = made(mlp, data, samples=512)
    panel, optimizer = HeldOutPanel(held_out), torch.optim.Adam(mlp.parameters(), 3e-3)
    errors = []
    for step in range(150):
        found = panel.measure(prober, 32, step)
        assert len(found.measured) == 32
        with torch.no_grad():
            logits = mlp(held_out.inputs)
        truth = nn.functional.cross_entropy(logits, torch.from_numpy(held_out.classes)).item()
        errors.append(found.loss - truth)
        optimizer.zero_grad()
        nn.functional.cross_entropy(mlp(data[0]), data[1]).backward()
        optimizer.step()
    assert np.sqrt(np.square(errors[40:]).mean()) < 0.03
    assert found.loss_interval[0] < truth < found.loss_interval[1]


def test_predictions_hold_their_certainty(mlp, data):
    prober, held_out = made(mlp, data)
    rows = np.array([5, 2, 9])
    found = HeldOutPanel(HeldOut(held_out.inputs)).predict(prober, rows)
    with torch.no_grad():
        logits = mlp.eval()(held_out.inputs[rows])
    np.testing.assert_allclose(found.certainty, certainty(logits).numpy(), rtol=1e-5)
    assert found.predicted.tolist() == logits.argmax(1).tolist()
    assert found.losses is None
    assert found.correct is None


@pytest.mark.parametrize("at_once", [1, 7, 1000])
def test_rows_are_passed_in_chunks(mlp, data, at_once):
    prober, held_out = made(mlp, data)
    panel = HeldOutPanel(held_out)
    whole = panel.predict(prober, np.arange(50))
    sizes = []
    prober.forward = lambda model, inputs: sizes.append(len(inputs)) or model(inputs)
    prober.rows_at_once = at_once
    chunked = panel.predict(prober, np.arange(50))
    assert chunked.losses == pytest.approx(whole.losses, rel=1e-4)
    assert max(sizes) == min(at_once, 50)
    assert sum(sizes) == 50


def test_what_does_not_fit_into_memory_is_halved(mlp, data):
    prober, held_out = made(mlp, data)

    def small(model, inputs):
        if len(inputs) > 10:
            raise RuntimeError("CUDA out of memory")
        return model(inputs)

    prober.forward, prober.rows_at_once = small, 10_000
    assert len(HeldOutPanel(held_out).predict(prober, np.arange(50)).predicted) == 50
    assert prober.rows_at_once <= 10


def test_the_model_is_in_eval_mode_and_left_as_it_was(data):
    model = nn.Sequential(
        nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, CLASSES)
    )
    prober, held_out = made(model, data)
    model.train()
    model[1].eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    one, two = (HeldOutPanel(held_out).predict(prober, np.arange(40)) for _ in "12")
    assert one == two
    assert [module.training for module in model] == [True, False, True, True, True]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())


class Tokens(nn.Module):
    """Classes of sequences by the mean of their embeddings."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(20, 16)
        self.head = nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, CLASSES))

    def forward(self, ids: Tensor, attention_mask: Tensor) -> Tensor:
        weights = attention_mask[..., None].float()
        return self.head((self.embed(ids) * weights).sum(1) / weights.sum(1))


def test_tokens_and_masks_are_those_of_the_input(data):
    ids = torch.randint(0, 20, (600, 7))
    mask = (torch.arange(7) <= torch.randint(1, 7, (600, 1))).long()
    model = Tokens()
    prober, held_out = made(model, ({"ids": ids, "attention_mask": mask}, data[1]))
    measure_sampled(prober, 3)  # embeds, and leaves no hook behind that would join inputs
    found = HeldOutPanel(held_out).predict(prober, np.arange(64))
    with torch.no_grad():
        logits = model(**held_out[np.arange(64)].inputs)
    truth = torch.from_numpy(held_out.classes[:64])
    losses = nn.functional.cross_entropy(logits, truth, reduction="none")
    assert found.losses == pytest.approx(losses.numpy(), rel=1e-4)


@pytest.mark.parametrize(
    "labels", [torch.arange(600) % 2, (torch.arange(600) % 2).bool(), torch.arange(600.0) % 2]
)
def test_a_single_logit_is_that_of_class_1(data, labels):
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1))
    prober, held_out = made(model, (data[0], labels))
    found = HeldOutPanel(held_out).measure(prober, 512, step=0)
    with torch.no_grad():
        logits = model(held_out.inputs)[:, 0]
    truth = torch.from_numpy(held_out.classes).float()
    loss = nn.functional.binary_cross_entropy_with_logits(logits, truth)
    assert found.loss == pytest.approx(loss.item(), rel=1e-4)
    assert found.accuracy == pytest.approx(((logits > 0) == truth.bool()).float().mean().item())


@pytest.mark.parametrize(
    "labels",
    [
        None,
        np.array(list("abc"))[np.arange(600) % 3],
    ],
)
def test_without_places_among_the_outputs_there_are_predictions_only(mlp, data, labels):
    prober, held_out = made(mlp, (data[0], labels))
    panel = HeldOutPanel(held_out)
    for step in range(2):
        found = panel.measure(prober, 16, step)
        assert (found.loss, found.accuracy, found.loss_interval, found.accuracy_interval) == (None,) * 4
        assert len(found.predictions.predicted) == 16
        json.dumps(found.to_dict(), allow_nan=False)
        assert "without labels" in str(found)


def test_an_output_without_classes_is_asked_once(data):
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 12), nn.Unflatten(1, (3, 4)))
    prober, held_out = made(model, data)
    panel, calls = HeldOutPanel(held_out), []
    panel.understand(prober)
    prober.forward = prober.whole = lambda model, inputs: calls.append(1) or model(inputs)
    assert [panel.measure(prober, 16, step) for step in range(3)] == [None] * 3
    assert len(calls) == 1


def test_bytes_and_doubles_are_given_as_the_paths_are(data):
    images = torch.randint(0, 256, (600, 8), dtype=torch.uint8)
    for inputs, model in (
        (images, nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, CLASSES))),
        (data[0].double(), nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, CLASSES)).half()),
    ):
        prober, held_out = made(model, (inputs, data[1]))
        measure_sampled(prober, 3)
        found = HeldOutPanel(held_out).measure(prober, 512, step=0)
        with torch.no_grad():
            logits = model(held_out.inputs.to(model[0].weight.dtype)).float()
        loss = nn.functional.cross_entropy(logits, torch.from_numpy(held_out.classes))
        assert found.loss == pytest.approx(loss.item(), rel=1e-3)


def test_where_no_error_is_met_the_interval_still_allows_for_some(data):
    # The network knows the class: it is written into the inputs.
    inputs = nn.functional.one_hot(data[1], 8).float()
    model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, CLASSES))
    with torch.no_grad():
        for layer in (model[0], model[2]):
            layer.weight.copy_(20 * torch.eye(*layer.weight.shape))
            layer.bias.zero_()
    prober, held_out = made(model, (inputs, data[1]))
    for count in (16, 512):
        found = HeldOutPanel(held_out).measure(prober, count, step=0)
        assert found.accuracy == 1.0
        assert 0.98 < found.accuracy_interval[0] < 0.9935
        assert found.accuracy_interval[1] == 1.0
        assert found.loss == pytest.approx(0.0, abs=1e-6)


def test_a_loss_that_is_no_number_is_published_as_such(mlp, data):
    prober, held_out = made(mlp, data)
    with torch.no_grad():
        mlp[-1].bias[0] = torch.nan
    found = HeldOutPanel(held_out).measure(prober, 64, step=0)
    assert math.isnan(found.loss)
    assert math.isnan(found.loss_interval[0])
    assert 0.0 <= found.accuracy <= 1.0


def test_every_number_can_be_computed_from_the_journal(mlp, data):
    prober, held_out = made(mlp, data)
    panel, lines = HeldOutPanel(held_out, seed=5), []
    for step in range(40):
        with torch.no_grad():
            mlp[-1].weight.mul_(1.02)
        count = 512 if step == 20 else 32
        lines.append(json.dumps({"step": step, **panel.measure(prober, count, step).to_dict()}))
    again = BlockPanel(512, seed=5)
    for line in map(json.loads, lines):
        rows = np.arange(line["inputs"]) if line["measured"] is None else np.array(line["measured"])
        values = np.stack([line["losses"], 1.0 - np.array(line["correct"])], axis=1)
        found = again.update(line["step"], rows, values, largest=np.array([np.inf, 1.0]))
        assert found.mean.tolist() == [line["loss"], 1.0 - line["accuracy"]] == pytest.approx(found.mean)
        assert [found.lower[0], found.upper[0]] == line["loss_interval"]


def test_a_resumed_panel_goes_on(mlp, data):
    prober, held_out = made(mlp, data)
    panel = HeldOutPanel(held_out)
    for step in range(5):
        panel.measure(prober, 16, step)
    resumed = HeldOutPanel(held_out)
    resumed.load_state_dict(json.loads(json.dumps(panel.state_dict(), allow_nan=False)))
    assert resumed.measure(prober, 16, 5) == panel.measure(prober, 16, 5)
    other = HeldOutPanel(draw_panel(data, 8, seed=1)[1])
    with pytest.raises(ValueError, match="other held-out inputs"):
        other.load_state_dict(panel.state_dict())


def test_a_report_holds_it(mlp, data):
    prober, held_out = made(mlp, data)
    report = measure_sampled(prober, 3)
    assert report.held_out is None
    assert report.to_dict()["held_out"] is None
    report = replace(report, held_out=HeldOutPanel(held_out).measure(prober, 16, step=0))
    assert report.to_dict()["held_out"]["loss"] == report.held_out.loss
    assert "held-out: loss" in report_table(report)
