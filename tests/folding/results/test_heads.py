"""What counts as a prediction of classes, with labels and without, and how it is read."""

from __future__ import annotations

import math
from collections import namedtuple
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import foldmon
from foldmon.folding.results.decision import CERTAINTY
from foldmon.folding.results.heads import Head, head_of
from foldmon.folding.results.targets import Targets

ROWS = 5


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(ROWS, *shape, generator=torch.Generator().manual_seed(seed))


def labels(count: int) -> Targets:
    return Targets.of(torch.arange(200) % count)


@dataclass
class Output:
    logits: Tensor
    hidden: Tensor | None = None


@dataclass
class Scores:
    scores: Tensor


@dataclass(slots=True)
class Several:
    features: Tensor
    pred: Tensor


Named = namedtuple("Named", "logits loss")


@pytest.mark.parametrize(
    ("output", "targets", "kind"),
    [
        (numbers(3), labels(3), "classes"),
        (numbers(10), labels(3), "classes"),  # of ten only three are met
        (numbers(1000), labels(10), "classes"),  # a head of another task
        ((numbers(3), None), labels(3), "classes"),
        ((torch.tensor(0.3), numbers(3)), labels(3), "classes"),
        ((numbers(3), numbers(1)), labels(3), "classes"),
        ({"logits": numbers(3), "hidden": numbers(8)}, labels(3), "classes"),
        ({"prediction": numbers(3)}, labels(3), "classes"),
        (Output(numbers(3), numbers(8)), labels(3), "classes"),
        (Scores(numbers(3)), labels(3), "classes"),
        (Named(numbers(3), torch.tensor(1.0)), labels(3), "classes"),
        (SimpleNamespace(logits=numbers(3)), labels(3), "classes"),
        (numbers(3), Targets.of(np.array(list("abc"))), "classes"),
        (numbers(4), Targets.of(numbers(4).softmax(1)), "classes"),  # probabilities of classes
        (numbers(4), Targets.of(torch.eye(4)), "classes"),  # one of them at a time
        (numbers(1), labels(2), "binary"),
        (numbers(), Targets.of(torch.tensor([True, False])), "binary"),
        (numbers(1), Targets.of(torch.tensor([[1.0], [0.0]])), "binary"),
        (numbers(4), Targets.of(torch.tensor([[1.0, 1, 0, 0], [0, 0, 0, 0]])), "labels"),
        (numbers(4), Targets.of(torch.tensor([[True, True, False, False]])), "labels"),
        (numbers(2), labels(2), "classes"),  # two inputs and two classes
        (numbers(1), Targets.of(torch.tensor([-1, 1])), "binary"),  # margins
        (numbers().tanh(), Targets.of(torch.tensor([[1.0], [-1.0]])), "binary"),
        ({"out": numbers(3), "aux": numbers(3, seed=1)}, labels(3), "classes"),
        ({"features": numbers(8), "preds": numbers(3)}, labels(3), "classes"),
        (Several(numbers(8), numbers(3)), labels(3), "classes"),
    ],
)
def test_labels_tell_classes(output: Any, targets: Targets, kind: str) -> None:
    head = head_of(output, ROWS, targets=targets, size=2)
    assert isinstance(head, Head), head
    assert head.kind == kind
    assert not head.probabilities or head.unsure


@pytest.mark.parametrize(
    ("output", "targets"),
    [
        (numbers(3), labels(4)),  # a class without an output
        (numbers(3), Targets.of(torch.tensor([-1, 1]))),
        (numbers(1), labels(10)),  # ages, counts
        (numbers(1), Targets.of(torch.randn(20))),
        (numbers(3), Targets.of(torch.randn(20))),
        (numbers(3), Targets.of(torch.randn(20, 3))),
        (numbers(64), Targets.of(torch.rand(20, 64))),  # as an autoencoder's
        (numbers(3), Targets.of({"boxes": 1})),
        (numbers(784), labels(10)),  # an autoencoder of labelled images
        ((numbers(784).sigmoid(), numbers(20), numbers(20, seed=1)), labels(10)),  # a variational one
        (numbers(128), labels(10)),  # an embedding
        (nn.functional.normalize(numbers(20)), labels(10)),
        (numbers(3, 8, 8), labels(3)),
        (numbers(3).long(), labels(3)),
        ({"mean": numbers(3), "spread": numbers(3)}, labels(3)),  # which of them?
        ([{"boxes": numbers(4)}], labels(3)),
        (None, labels(3)),
        ("text", labels(3)),
        (torch.zeros(4, 3), labels(3)),  # of other rows
    ],
)
def test_labels_tell_what_is_none(output: Any, targets: Targets) -> None:
    assert isinstance(head_of(output, ROWS, targets=targets, size=784), str)


@pytest.mark.parametrize(
    ("output", "made"),
    [
        (numbers(10), "linear"),
        (numbers(3), "linear"),
        (numbers(2).softmax(1), None),
        (numbers(2).log_softmax(1), None),
        (numbers(64).softmax(1), None),
        (numbers(1).sigmoid(), "sigmoid"),
        (numbers(5).sigmoid(), "sigmoid"),
        (Output(numbers(2)), "linear"),
        ({"logits": numbers(7, 2)}, "linear"),
    ],
)
def test_plausible_classes_without_labels(output: Any, made: Any) -> None:
    assert isinstance(head_of(output, ROWS, size=8, made=made), Head)


@pytest.mark.parametrize(
    "output",
    [
        numbers(1),  # regression, a critic
        numbers(2),  # a point in the plane
        numbers(8),  # as many as an input has
        numbers(64),
        numbers(384),
        nn.functional.normalize(numbers(12)),
        (numbers(8).sigmoid(), numbers(3), numbers(3, seed=1)),
        (numbers(3), numbers(3, seed=1)),  # mean and variance
        (numbers(3).softmax(1), numbers(3), numbers(3, seed=1).exp()),  # a mixture of three
        numbers(7, 3),
        numbers(3, 4, 4),
        SimpleNamespace(last_hidden_state=numbers(7, 64), pooler_output=numbers(64)),
    ],
)
def test_what_is_implausible_without_labels(output: Any) -> None:
    reason = head_of(output, ROWS, size=8, made="linear")
    assert isinstance(reason, str)
    assert len(reason) > 10


def test_the_last_of_tokens_is_read() -> None:
    logits = numbers(7, 30)
    for output in (logits, (logits, torch.tensor(2.0)), {"logits": logits}):
        head = head_of(output, ROWS, tokens=True, targets=Targets.of(torch.randint(30, (60, 7))))
        assert isinstance(head, Head)
        assert torch.equal(head.predicted(head.logits(output, ROWS)), logits[:, -1].argmax(1))


def test_the_users_word_settles_it() -> None:
    regression = numbers(3)
    assert head_of(regression, ROWS, classes=False, targets=labels(3)) == "classes=False"
    values = {"q": numbers(2), "hidden": numbers(8)}
    head = head_of(values, ROWS, classes=lambda output: output["q"])
    assert isinstance(head, Head)
    assert torch.equal(head.logits(values, ROWS), values["q"])
    assert isinstance(head_of(numbers(2), ROWS, classes=True), Head)
    with pytest.raises(ValueError, match=r"classes= could not read an output: KeyError: 'p'"):
        head_of(values, ROWS, classes=lambda output: output["p"])
    with pytest.raises(ValueError, match=r"shape \(5, C\) for 5 inputs, got \(8,\)"):
        head_of(values, ROWS, classes=lambda output: output["hidden"][0])


def test_a_probability_is_two_sided_at_one_half() -> None:
    shares = torch.tensor([[0.1], [0.6], [0.4], [0.9], [0.5]])
    head = head_of(shares, ROWS, targets=labels(2), made="sigmoid")
    assert isinstance(head, Head)
    logits = head.logits(shares, ROWS)
    assert head.predicted(logits)[:4].tolist() == [0, 1, 0, 1]
    assert logits.softmax(1)[:, 1].tolist() == pytest.approx(shares[:, 0].tolist())


def test_values_alone_may_tell_probabilities_until_one_is_none() -> None:
    # Written by hand: no sigmoid was seen.
    shares = torch.tensor([0.1, 0.6, 0.4, 0.9, 0.2])
    head = head_of(shares, ROWS, targets=labels(2))
    assert isinstance(head, Head)
    assert head.predicted(head.logits(shares, ROWS)).tolist() == [0, 1, 0, 1, 0]
    scores = torch.tensor([0.1, 0.6, -0.4, 2.0, 0.2])
    assert head.predicted(head.logits(scores, ROWS)).tolist() == [1, 1, 0, 1, 1]
    assert head.predicted(head.logits(shares, ROWS)).tolist() == [1] * 5
    head = head_of(shares, ROWS, targets=labels(2), made="linear")
    assert isinstance(head, Head)
    assert head.predicted(head.logits(shares, ROWS)).tolist() == [1] * 5


def test_softmaxed_outputs_are_read_as_logarithms() -> None:
    shares = numbers(4).softmax(1)
    head = head_of(shares, ROWS, targets=labels(4))
    assert isinstance(head, Head)
    assert head.logits(shares, ROWS).softmax(1).numpy() == pytest.approx(shares.numpy(), abs=1e-6)


@pytest.mark.parametrize("count", [3, 53, 200])
def test_sets_of_labels_have_numbers_of_their_own(count: int) -> None:
    logits = torch.randn(400, count, generator=torch.Generator().manual_seed(1))
    logits[200:] = logits[:200] * 2  # the same sets
    sets = {tuple(row) for row in (logits > 0).tolist()}
    predicted = Head("labels").predicted(logits).tolist()
    assert predicted[:200] == predicted[200:]
    assert len(set(predicted)) == len(sets)
    assert all(0 <= number < 2**53 for number in predicted)


def test_how_sure_labels_are() -> None:
    logits = torch.tensor([[0.0, 3.0, -1.0]])
    found = Head("labels").certainty(logits)[0].tolist()
    shares = [1 / (1 + math.exp(-z)) for z in logits[0].tolist()]
    entropy = -sum(p * math.log(p) + (1 - p) * math.log(1 - p) for p in shares)
    assert len(found) == CERTAINTY
    assert found[:2] == pytest.approx([entropy, 3])
    assert found[2:5] == [1, 0, 2]
    assert found[6:9] == pytest.approx(sorted(shares, reverse=True))


class Pair(nn.Module):
    """Several things put out side by side."""

    def __init__(self, *heads: nn.Module) -> None:
        super().__init__()
        self.body, self.heads = nn.Sequential(nn.Linear(6, 32), nn.ReLU()), nn.ModuleList(heads)

    def forward(self, x: Tensor) -> Any:
        x = self.body(x)
        return tuple(head(x) for head in self.heads) if len(self.heads) > 1 else self.heads[0](x)


def of(*heads: nn.Module) -> Callable[[], nn.Module]:
    return lambda: Pair(*heads)


@pytest.mark.parametrize(
    ("build", "target"),
    [
        (of(nn.Linear(32, 1)), torch.randn(60, 1)),
        (of(nn.Linear(32, 2)), torch.randn(60, 2)),
        (of(nn.Linear(32, 1)), torch.randint(90, (60,))),
        (of(nn.Linear(32, 6)), None),
        (of(nn.Sequential(nn.Linear(32, 6), nn.Sigmoid())), None),
        (of(nn.Linear(32, 6), nn.Linear(32, 2), nn.Linear(32, 2)), torch.arange(60) % 3),
        (of(nn.Linear(32, 64)), torch.arange(60) % 3),
    ],
    ids=["regression", "two targets", "ages", "autoencoder", "bounded", "variational", "embedding"],
)
def test_others_show_no_class_changes(build: Callable[[], nn.Module], target: Tensor | None) -> None:
    inputs = torch.randn(60, 6)
    pairs = foldmon.draw_pairs(inputs if target is None else (inputs, target), 8, kind="any")
    report = foldmon.measure(build(), pairs, points=5)
    assert report.decision is None
    assert any("no decision folding" in note for note in report.notes)


def test_a_sigmoids_class_changes_are_those_of_its_logits() -> None:
    torch.manual_seed(0)
    body = [nn.Linear(6, 64), nn.ReLU(), nn.Linear(64, 1)]
    body[-1].bias.data.zero_()
    pairs = foldmon.draw_pairs((torch.randn(60, 6), torch.arange(60) % 2), 32)
    raw = foldmon.measure(nn.Sequential(*body), pairs)
    for tail in ([nn.Sigmoid()], [nn.Sigmoid(), nn.Flatten(0)]):
        squashed = foldmon.measure(nn.Sequential(*body, *tail), pairs)
        assert squashed.decision is not None
        assert raw.decision is not None
        assert squashed.decision.changes.tolist() == raw.decision.changes.tolist()
        assert squashed.decision.changes.sum() > 0
