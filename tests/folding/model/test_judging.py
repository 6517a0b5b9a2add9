"""Held-out loss and accuracy of every kind of task, beside what the training's own criterion gives."""

from __future__ import annotations

import json
from collections import namedtuple
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from foldmon.folding.data.labels import HeldOut
from foldmon.folding.data.pairs import Pairs
from foldmon.folding.data.trees import call, take_rows
from foldmon.folding.held_out import HeldOutPanel
from foldmon.folding.model.prober import Prober
from foldmon.folding.results.score import HeldOutScore
from tests.fixtures.models import SMALL, gpt2, llama, t5

N = 96
Random = torch.Generator().manual_seed(3)
X = torch.randn(N, 6, generator=Random)
CLASSES = torch.randint(3, (N,), generator=Random)
SIDES = torch.randint(2, (N,), generator=Random)
SETS = torch.randint(2, (N, 4), generator=Random)
SHARES = torch.randn(N, 3, generator=Random).softmax(1)


def net(outputs: int, *tail: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, outputs), *tail).eval()


def followed(
    model: nn.Module, inputs: Any, labels: Any, loss: Any = None, **options: Any
) -> HeldOutScore | None:
    first, second = (take_rows(inputs, torch.arange(k, N, 2)[:8]) for k in (0, 1))
    prober = Prober(model, Pairs(first, second), labels=labels, **options)
    return HeldOutPanel(HeldOut(inputs, labels), loss=loss).measure(prober, N, step=0)


def outputs(model: nn.Module, inputs: Any) -> Any:
    with torch.no_grad():
        return call(model.eval(), inputs)


@pytest.mark.parametrize(
    ("model", "labels", "criterion"),
    [
        (net(3), CLASSES, nn.CrossEntropyLoss()),
        (net(3), CLASSES.to(torch.uint8), lambda out, y: F.cross_entropy(out, y.long())),
        (net(3, nn.LogSoftmax(1)), CLASSES, nn.NLLLoss()),
        (net(3, nn.Softmax(1)), CLASSES, lambda out, y: F.nll_loss(out.log(), y)),
        (net(3), SHARES, nn.CrossEntropyLoss()),
        (net(3), F.one_hot(CLASSES).float(), nn.CrossEntropyLoss()),
        (net(1), SIDES.float()[:, None], nn.BCEWithLogitsLoss()),
        (net(1, nn.Flatten(0)), SIDES, lambda out, y: F.binary_cross_entropy_with_logits(out, y.float())),
        (net(1, nn.Sigmoid()), SIDES.float()[:, None], nn.BCELoss()),
        (net(1, nn.Sigmoid(), nn.Flatten(0)), SIDES.bool(), lambda out, y: nn.BCELoss()(out, y.float())),
        (net(4), SETS.float(), nn.BCEWithLogitsLoss()),
        (net(4), SETS, nn.MultiLabelSoftMarginLoss()),
        (net(4, nn.Sigmoid()), SETS.float(), nn.BCELoss()),
    ],
    ids=[
        "logits", "bytes", "log-softmax", "softmax", "probabilities as targets", "one-hot", "one logit",
        "flat logit", "one sigmoid", "truth values", "several labels", "whole numbers", "several sigmoids",
    ],
)  # fmt: skip
def test_classification_needs_no_loss(model: nn.Module, labels: Tensor, criterion: Any) -> None:
    found = followed(model, X, labels)
    output = outputs(model, X)
    assert found is not None
    assert found.loss == pytest.approx(float(criterion(output, labels)), rel=1e-4)
    bounded = output.min() >= 0
    predicted = output > (0.5 if bounded else 0) if output.shape[1:] in ((), (1,), (4,)) else output.argmax(1)
    truth = labels.argmax(1) if labels.shape[1:] == (3,) else labels.reshape(predicted.shape)
    assert found.accuracy == pytest.approx((predicted == truth).float().mean().item())
    assert found.predictions.predicted is not None


def test_ignored_labels_count_for_nothing() -> None:
    labels = CLASSES.where(torch.arange(N) % 3 > 0, -100)
    found = followed(net(3), X, labels)
    assert found is not None
    assert found.loss == pytest.approx(F.cross_entropy(outputs(net(3), X), labels).item(), rel=1e-4)
    assert found.inputs == N * 2 // 3


Huber = nn.HuberLoss(delta=0.5)


@dataclass
class Regressed:
    mean: Tensor
    spread: Tensor


class Spread(nn.Module):
    """Puts out a mean and a variance, as a dataclass."""

    def __init__(self) -> None:
        super().__init__()
        self.net = net(2)

    def forward(self, x: Tensor) -> Regressed:
        mean, spread = self.net(x).split(1, dim=1)
        return Regressed(mean, spread.exp())


Variational = namedtuple("Variational", "image mean log_variance")


class Autoencoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encode, self.decode = net(4), nn.Linear(2, 6)

    def forward(self, x: Tensor) -> Variational:
        mean, log_variance = self.encode(x).split(2, dim=1)
        return Variational(self.decode(mean), mean, log_variance)


def evidence(output: Variational, target: Tensor) -> Tensor:
    divergence = 0.5 * (output.log_variance.exp() + output.mean**2 - 1 - output.log_variance).sum()
    return ((output.image - target) ** 2).sum() + divergence


def focal(output: Tensor, target: Tensor) -> Tensor:
    return ((1 - output.softmax(1).gather(1, target[:, None])) ** 2).mean()


WEIGHT = torch.tensor([0.2, 1.0, 3.0])
NUMBERS = torch.randn(N, 1, generator=Random) * 3
IMAGES = torch.randn(N, 3, 5, 5, generator=Random)
MAPS = torch.randint(3, (N, 5, 5), generator=Random).where(torch.rand(N, 5, 5, generator=Random) > 0.3, 255)


@pytest.mark.parametrize(
    ("model", "inputs", "labels", "loss", "scale"),
    [
        (net(1), X, NUMBERS, nn.MSELoss(), 1),
        (net(1), X, NUMBERS, F.mse_loss, 1),
        (net(1), X, NUMBERS, nn.L1Loss(), 1),
        (net(1), X, NUMBERS, Huber, 1),
        (net(1), X, NUMBERS.double(), lambda out, y: (out - y).abs().max(1).values, 1),
        (net(2), X, torch.randn(N, 2), nn.SmoothL1Loss(), 1),
        (net(1), X, NUMBERS, nn.MSELoss(reduction="sum"), N),
        (Spread(), X, NUMBERS, lambda out, y: F.gaussian_nll_loss(out.mean, y, out.spread), 1),
        (Autoencoder(), X, X, evidence, N),
        (Autoencoder(), X, None, evidence, N),
        (net(3), X, CLASSES, nn.CrossEntropyLoss(weight=WEIGHT, label_smoothing=0.1), 1),
        (net(3), X, CLASSES, focal, 1),
        (nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 3, 1)), IMAGES, MAPS,
         nn.CrossEntropyLoss(ignore_index=255), 1),
        (net(3, nn.LogSoftmax(1)), X, SHARES, nn.KLDivLoss(reduction="batchmean"), 1),
    ],
    ids=[
        "MSE", "function", "L1", "Huber", "one an input", "several", "sum", "likelihood", "variational",
        "inputs", "weighted", "own", "segmentation", "divergence",
    ],
)  # fmt: skip
def test_a_given_loss_is_the_criterions(
    model: nn.Module, inputs: Tensor, labels: Any, loss: Any, scale: int
) -> None:
    found = followed(model, inputs, labels, loss)
    target = inputs if labels is None else labels.float() if labels.is_floating_point() else labels
    assert found is not None
    assert found.loss == pytest.approx(float(loss(outputs(model, inputs), target).mean()) / scale, rel=1e-4)
    assert len(found.predictions.losses) == N
    assert len(set(found.predictions.losses.tolist())) > N // 2  # each has its own
    assert (found.accuracy is None) == all(labels is not known for known in (CLASSES, SHARES, MAPS))
    json.dumps(found.to_dict(), allow_nan=False)


def test_losses_may_be_negative_or_far_apart() -> None:
    scored = followed(net(1), X, NUMBERS, lambda out, y: (out - y).square().mean() - 20)
    assert scored is not None
    assert scored.loss_interval[0] < scored.loss < scored.loss_interval[1] < 0


class Twin(nn.Module):
    """Embeds two views."""

    def __init__(self) -> None:
        super().__init__()
        self.net = net(8)

    def forward(self, one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
        return self.net(one), self.net(other)


def contrast(output: tuple[Tensor, Tensor], target: Any) -> Tensor:
    one, other = (F.normalize(part) for part in output)
    return F.cross_entropy(one @ other.T / 0.5, torch.arange(len(one)))


def test_a_loss_of_batches_is_known_of_batches() -> None:
    views = X, X + 0.1 * torch.randn(N, 6, generator=Random)
    found = followed(Twin(), views, None, contrast)
    whole = [
        contrast(outputs(Twin(), take_rows(views, torch.arange(k, k + 16))), None) for k in range(0, N, 16)
    ]
    assert found is not None
    assert found.predictions.losses.tolist() == pytest.approx(
        np.repeat([float(v) for v in whole], 16), rel=1e-3
    )
    assert found.loss_interval[0] < found.loss < found.loss_interval[1]


@pytest.mark.parametrize(
    ("labels", "loss", "message"),
    [
        (NUMBERS, lambda out, y: out.mean().item(), "loss= gave float in place of a tensor"),
        (NUMBERS, lambda out, y: out[:1].expand(3, 4), r"loss= gave shape \(3, 4\)"),
        (NUMBERS, lambda out, y: F.mse_loss(out.logits, y), "loss= failed: AttributeError"),
        (NUMBERS, lambda out: out.mean(), r"It is called as loss\(output, target\)"),
        (SIDES, nn.BCEWithLogitsLoss(), "loss= failed"),
        (NUMBERS[:, 0], nn.MSELoss(), "loss= compares what differs in shape"),
        (NUMBERS[:, 0], F.l1_loss, "loss= compares what differs in shape"),
    ],
)
def test_a_loss_that_does_not_fit_is_refused(labels: Any, loss: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        followed(net(1), X, labels, loss)


TOKENS = torch.randint(0, 50, (N, 10), generator=Random)
PADDED = TOKENS.where(torch.arange(10) < torch.randint(4, 11, (N, 1), generator=Random), -100)


def masked_bert() -> nn.Module:
    from transformers import BertConfig, BertForMaskedLM

    return BertForMaskedLM(BertConfig(**SMALL, vocab_size=50))


def own_losses(model: nn.Module, inputs: Any, labels: Tensor) -> Tensor:
    with torch.no_grad():
        return model(**inputs, labels=labels).loss


@pytest.mark.parametrize("build", [gpt2, llama, masked_bert, t5])
def test_language_models_are_judged_by_their_own_loss(build: Callable[[], nn.Module]) -> None:
    torch.manual_seed(0)
    model = build().eval()
    inputs = {"input_ids": TOKENS % int(model.config.vocab_size)}
    labels = (PADDED % int(model.config.vocab_size)).where(PADDED >= 0, -100)
    found = followed(model, inputs, labels)
    assert found is not None
    assert found.loss == pytest.approx(float(own_losses(model, inputs, labels)), rel=1e-4)
    assert found.accuracy is not None
    assert found.predictions.predicted is not None
    assert 0 <= found.accuracy < 0.5


class Gpt(nn.Module):
    """Puts out (logits, loss), and the last position's logits alone where no targets are passed."""

    def __init__(self, smoothing: float = 0.0) -> None:
        super().__init__()
        self.embed, self.body, self.smoothing = nn.Embedding(50, 16), nn.Linear(16, 32), smoothing
        self.act, self.head = nn.GELU(), nn.Linear(32, 50)

    def forward(self, idx: Tensor, targets: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        x = self.act(self.body(self.embed(idx).cumsum(1)))
        if targets is None:
            return self.head(x[:, [-1]]), None
        logits = self.head(x)
        loss = F.cross_entropy(
            logits.flatten(0, 1), targets.flatten(), ignore_index=-1, label_smoothing=self.smoothing
        )
        return logits, loss


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_logits_and_loss_side_by_side(smoothing: float) -> None:
    model = Gpt(smoothing)
    labels = TOKENS.roll(-1, 1)
    found = followed(model, TOKENS, labels)
    with torch.no_grad():
        logits, loss = model(TOKENS, labels)
    assert found is not None
    assert found.loss == pytest.approx(float(loss), rel=1e-4)
    if not smoothing:
        assert found.accuracy == pytest.approx((logits.argmax(2) == labels).float().mean().item())
    assert found.predictions.predicted.tolist() == logits[:, -1].argmax(1).tolist()


def test_tokens_of_a_plain_model_are_judged_where_they_stand() -> None:
    class Tagger(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Sequential(nn.Embedding(50, 16), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 5))

        def forward(self, tokens: Tensor) -> Tensor:
            return self.net(tokens)

    labels = (TOKENS % 5).where(PADDED >= 0, -100)
    found = followed(Tagger(), TOKENS, labels)
    logits = outputs(Tagger(), TOKENS)
    assert found is not None
    assert found.inputs == N
    torch.manual_seed(5)
    model = Tagger()
    found = followed(model, TOKENS, labels)
    logits = outputs(model, TOKENS)
    assert found is not None
    assert found.loss == pytest.approx(F.cross_entropy(logits.movedim(2, 1), labels).item(), rel=1e-4)
    shares = [
        (row.argmax(1) == own)[own >= 0].float().mean() for row, own in zip(logits, labels, strict=True)
    ]
    assert found.accuracy == pytest.approx(float(torch.stack(shares).mean()), rel=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.int64])
def test_of_margins_the_sign_is_the_class(dtype: torch.dtype) -> None:
    model = net(1, nn.Tanh(), nn.Flatten(0))
    found = followed(model, X, (2 * SIDES - 1).to(dtype))
    margins = outputs(model, X)
    assert found is not None
    assert found.accuracy == pytest.approx(((margins > 0) == (SIDES > 0)).float().mean().item())
    assert found.loss == pytest.approx(F.soft_margin_loss(margins, 2.0 * SIDES - 1).item(), rel=1e-4)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64])
def test_borders_in_masks_of_classes_count_for_nothing(dtype: torch.dtype) -> None:
    masks = torch.randint(4, (N, 5, 5), generator=Random).to(dtype)
    masks[:, :2, 1:] = 255
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 1))
    found = followed(model, IMAGES, masks)
    expected = F.cross_entropy(outputs(model, IMAGES), masks.long(), ignore_index=255)
    assert found is not None
    assert found.loss == pytest.approx(expected.item(), rel=1e-4)
    right = (outputs(model, IMAGES).argmax(1) == masks)[masks < 255].float().mean()
    assert found.accuracy == pytest.approx(right.item(), rel=1e-4)


def test_masks_of_images_are_judged_by_themselves() -> None:
    masks = torch.randint(2, (N, 1, 5, 5), generator=Random).float()
    for tail, criterion in (
        ([], F.binary_cross_entropy_with_logits),
        ([nn.Sigmoid()], F.binary_cross_entropy),
    ):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 1, 1), *tail)
        found = followed(model, IMAGES, masks)
        assert found is not None
        assert found.loss == pytest.approx(criterion(outputs(model, IMAGES), masks).item(), rel=1e-4)
        assert found.accuracy is not None
        assert found.predictions.predicted is None


@pytest.mark.parametrize(
    ("model", "labels"),
    [
        (net(3), torch.arange(N) % 4),  # a class without an output
        (net(3), torch.arange(N) % 2 * 2 - 1),
        (net(1), NUMBERS),
        (net(2), torch.randn(N, 2)),
        (net(6), None),
    ],
)
def test_other_targets_need_a_loss(model: nn.Module, labels: Any) -> None:
    assert followed(model, X, labels) is None


@pytest.mark.parametrize(
    ("outputs", "labels"),
    [
        (3, torch.arange(N) % 3 + 1),
        (3, torch.arange(N) % 3 - 1),
        (3, NUMBERS[:, 0]),
        (1, torch.arange(N) % 5),
    ],
)
def test_labels_that_are_no_places_leave_the_classes_that_the_user_told(outputs: int, labels: Tensor) -> None:
    found = followed(net(outputs), X, labels, classes=True)
    assert found is not None
    assert found.predictions.predicted is not None
    assert (found.loss, found.accuracy) == (None, None)


def test_logits_that_the_user_reads_are_judged() -> None:
    class Parts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net(3)

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            return {"z": self.net(x), "x": x}

    found = followed(Parts(), X, CLASSES, classes=lambda output: output["z"])
    assert found is not None
    expected = F.cross_entropy(outputs(Parts(), X)["z"], CLASSES)
    assert found.loss == pytest.approx(expected.item(), rel=1e-4)


def test_q_values_are_classes_where_the_user_says_so() -> None:
    class Q(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net(2)

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            return {"q": self.net(x), "state": x}

    assert followed(Q(), X, None) is None
    found = followed(Q(), X, None, classes=lambda output: output["q"])
    assert found is not None
    assert found.predictions.predicted.tolist() == outputs(Q(), X)["q"].argmax(1).tolist()
    assert followed(net(3), X, CLASSES, classes=False) is None
