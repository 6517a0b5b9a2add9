import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint, set_checkpoint_early_stop

from foldmon import FoldingRegularizer
from foldmon.folding.undisturbed.random_state import random_state
from foldmon.regularize.batch_pairs import pairs_in_batch

X = torch.randn(24, 6, generator=torch.Generator().manual_seed(1))


class Block(nn.Module):
    """Three hidden layers whose activation is called in one of several ways."""

    def __init__(self, relu=F.relu, *, reentrant=None):
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.ModuleList([nn.Linear(6, 32), nn.Linear(32, 32), nn.Linear(32, 32)])
        self.norm, self.dropout = nn.BatchNorm1d(32), nn.Dropout(0.3)
        self.head = nn.Linear(32, 3)
        self.relu, self.reentrant = relu, reentrant

    def block(self, x, layer):
        return self.dropout(self.relu(self.norm(layer(x)) if layer.in_features == 32 else layer(x)))

    def forward(self, x):
        for layer in self.layers:
            if self.reentrant is None or layer.in_features == 6:
                x = self.block(x, layer)
            else:
                x = checkpoint(self.block, x, layer, use_reentrant=self.reentrant)
        return self.head(x)


def gradients(model, *, attached=False):
    reg = FoldingRegularizer(model, 0.5, pairs=8)
    if attached:
        reg.attach()
    torch.manual_seed(2)
    loss = model(X).square().mean()
    (loss if attached else loss + reg(X)).backward()
    return [p.grad for p in model.parameters()], [b.clone() for b in model.buffers()]


def assert_same(a, b):
    for p, q in zip(a, b, strict=True):
        assert torch.equal(p, q)


@pytest.mark.parametrize("attached", [False, True])
@pytest.mark.parametrize(
    "relu",
    [nn.ReLU(), nn.ReLU(inplace=True), F.relu_, lambda x: F.relu(x, inplace=True), torch.Tensor.relu],
    ids=["module", "module in place", "relu_", "inplace=True", "method"],
)
def test_every_way_to_call_an_activation_gives_the_same_gradient(relu, attached):
    expected, buffers = gradients(Block())
    found, found_buffers = gradients(Block(relu), attached=attached)
    assert_same(found, expected)
    assert_same(found_buffers, buffers)


@pytest.mark.parametrize("attached", [False, True])
def test_checkpointed_blocks_give_the_same_gradient(attached):
    expected, _ = gradients(Block())
    assert_same(gradients(Block(reentrant=False), attached=attached)[0], expected)


@pytest.mark.parametrize("attached", [False, True])
def test_reentrant_checkpoints_are_refused(attached):
    with pytest.raises(RuntimeError, match="use_reentrant=False"):
        gradients(Block(reentrant=True), attached=attached)


@pytest.mark.parametrize("early_stop", [True, False])
def test_a_checkpoint_around_the_whole_model(early_stop):
    """The second run of the model, in the backward pass, may stop before it comes to the hook, or not."""

    def outer(reentrant):
        model = Block()
        reg = FoldingRegularizer(model, 0.5, pairs=8).attach()
        torch.manual_seed(2)
        with set_checkpoint_early_stop(early_stop):
            output = checkpoint(model, X.clone().requires_grad_(), use_reentrant=reentrant)
        output.square().mean().backward()
        return [p.grad for p in model.parameters()], reg

    found, reg = outer(False)
    assert_same(found, gradients(Block(), attached=True)[0])
    assert reg.step == 1
    with pytest.raises(RuntimeError, match="use_reentrant=False"):
        outer(True)


def test_buffers_modes_hooks_and_random_states_stay_as_they_were():
    model = Block()
    model.norm.eval()  # a frozen BatchNorm stays frozen
    buffers = {name: b.clone() for name, b in model.named_buffers()}
    modes = [m.training for m in model.modules()]
    before = random_state()
    FoldingRegularizer(model, 0.5)(X, torch.arange(24) % 3).backward()
    after = random_state()
    assert before["python"] == after["python"]
    assert (before["numpy"][1] == after["numpy"][1]).all()
    assert torch.equal(before["torch"], after["torch"])
    assert [m.training for m in model.modules()] == modes
    assert all(torch.equal(b, buffers[name]) for name, b in model.named_buffers())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_labels_join_different_classes():
    labels = torch.arange(24) % 3
    numbered = torch.arange(24.0).unsqueeze(1)
    pairs, valid = pairs_in_batch(numbered, labels, 20, torch.Generator())
    first, second = pairs.first[:, 0].long(), pairs.second[:, 0].long()
    assert valid.all()
    assert (labels[first] != labels[second]).all()
    assert len(set(first.tolist())) == 20


def test_a_batch_of_one_class_or_one_input_adds_nothing():
    model = Block()
    reg = FoldingRegularizer(model, 0.5)
    term = reg(X, torch.zeros(24, dtype=torch.int64))
    term.backward()
    assert term.item() == 0.0
    assert all(not p.grad.any() for p in model.parameters() if p.grad is not None)
    assert math.isnan(reg.values["phi"])
    assert reg(X[:1]).item() == 0.0
    assert reg.step == 2


@pytest.mark.parametrize(("size", "pairs"), [(4, 1), (64, 3), (400, 8)])
def test_by_default_the_extra_inputs_are_a_quarter_of_the_batch(size, pairs):
    model, sizes = Block(), []
    reg = FoldingRegularizer(model, 0.5)
    reg(X)
    model.register_forward_hook(lambda module, args, output: sizes.append(len(output)))
    reg(torch.randn(size, 6))
    assert sizes == [5 * pairs]


def test_the_values_are_those_of_the_last_term():
    reg = FoldingRegularizer(Block(), lambda step, phi: 0.5 * (step + 1))
    assert reg.values == {}
    for weight in (0.5, 1.0):
        term = reg(X).item()
        assert reg.values == {
            "term": pytest.approx(term),
            "weight": weight,
            "phi": pytest.approx(-term / weight),
        }


def test_chosen_layers_alone_count():
    model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 2))
    first = FoldingRegularizer(model, 1.0, layers="1")
    # Every unit of a first hidden layer crosses its cut at most once on a line.
    assert first(X).item() == pytest.approx(0.0, abs=1e-6)
    assert FoldingRegularizer(model, 1.0, layers="3")(X).item() < -0.01
    with pytest.raises(ValueError, match="unknown layer"):
        FoldingRegularizer(model, layers="relu1")(X)


def test_tokens_are_joined_in_embedding_space():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Embedding(20, 8), nn.Flatten(), nn.Linear(40, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU()
    )
    term = FoldingRegularizer(model, 1.0)(torch.randint(20, (16, 5)))
    term.backward()
    assert term.item() < 0.0
    assert model[2].weight.grad.any()


def test_recurrent_layers_run_in_the_mode_that_has_a_backward_pass():
    class Recurrent(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm, self.hidden = nn.LSTM(6, 16, batch_first=True), nn.Linear(16, 16)

        def forward(self, x):
            return F.relu(self.hidden(self.lstm(x)[0][:, -1]))

    model, modes = Recurrent(), []
    model.lstm.eval()
    model.lstm.register_forward_hook(lambda module, *_: modes.append((module.training, model.training)))
    FoldingRegularizer(model, 0.5)(torch.randn(16, 4, 6)).backward()
    assert modes[-1] == (True, False)
    assert not model.lstm.training
    assert model.lstm.weight_hh_l0.grad.any()


def test_a_saved_state_goes_on_with_the_same_pairs():
    first, second = FoldingRegularizer(Block(), 0.5), FoldingRegularizer(Block(), 0.5)
    first(X)
    second.load_state_dict(first.state_dict())
    assert second.step == 1
    assert first(X).item() == second(X).item()


def test_without_gradients_the_value_is_still_there():
    model = Block()
    with torch.no_grad():
        term = FoldingRegularizer(model, 0.5)(X)
    assert not term.requires_grad
    assert term.item() == FoldingRegularizer(model, 0.5)(X).item()


def test_a_frozen_model_is_named():
    with pytest.raises(RuntimeError, match="unfreeze"):
        FoldingRegularizer(Block().requires_grad_(False))(X)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"pairs": 0}, "pairs"),
        ({"points": 2}, "points"),
        ({"temperature": 0.0}, "temperature"),
        ({"weight": float("inf")}, "weight"),
        ({"smooth_maximum": True, "straight_through": True}, "smooth_maximum"),
    ],
)
def test_wrong_arguments_are_refused(options, match):
    with pytest.raises(ValueError, match=match):
        FoldingRegularizer(Block(), **options)


def test_labels_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="one integer an input"):
        FoldingRegularizer(Block())(X, torch.rand(24, 3))
