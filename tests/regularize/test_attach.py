import copy
import io

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from foldmon import FoldingRegularizer

X = torch.randn(32, 6, generator=torch.Generator().manual_seed(1))
Y = torch.randint(3, (32,), generator=torch.Generator().manual_seed(2))


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(6, 32), nn.BatchNorm1d(32), nn.ReLU(inplace=True), nn.Dropout(0.2),
        nn.Linear(32, 32), nn.ReLU(inplace=True), nn.Linear(32, 3),
    )  # fmt: skip


def train(way, *, wrap=lambda model: model, loop, steps=3):
    """Losses as the user sees them, gradients and weights of a short training."""
    model = network()
    called = wrap(model)
    reg = FoldingRegularizer(called, 0.5, pairs=8)
    if way == "attached":
        reg.attach(scale=getattr(loop, "scale", 1.0))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    torch.manual_seed(3)
    seen = []
    for step in range(steps):
        optimizer.zero_grad()
        seen += loop(called, (lambda x: reg(x)) if way == "called" else (lambda x: 0.0), step)
        seen += [p.grad.clone() for p in model.parameters()]
        optimizer.step()
    return seen, [b.clone() for b in model.buffers()], reg


def plain(model, term, step):
    loss = F.cross_entropy(model(X), Y)
    (loss + term(X)).backward()
    return [loss.detach()]


def accumulating(model, term, step):
    losses = []
    for rows in X.split(8):
        loss = model(rows).square().mean()
        ((loss + term(rows)) / 4).backward()
        losses.append(loss.detach())
    return losses


accumulating.scale = 1 / 4


def autocast(model, term, step):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = F.cross_entropy(model(X), Y)
        total = loss + term(X)
    total.backward()
    return [loss.detach()]


class Scaled:
    """A loop with a GradScaler, whose scale doubles after every step."""

    def __init__(self):
        self.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=1)

    @property
    def scale(self):
        return self.scaler.get_scale

    def __call__(self, model, term, step):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        with torch.autocast("cpu", dtype=torch.float16):
            loss = F.cross_entropy(model(X), Y)
            total = loss + term(X)
        self.scaler.scale(total).backward()
        self.scaler.unscale_(optimizer)
        self.scaler.step(optimizer)
        self.scaler.update()
        return [loss.detach()]


def same(a, b):
    return len(a) == len(b) and all(torch.equal(p, q) for p, q in zip(a, b, strict=True))


def compiled(backend):
    return lambda model: torch.compile(model, backend=backend)


@pytest.mark.parametrize("loop", [plain, accumulating, autocast, Scaled])
def test_attached_and_called_give_the_same_to_the_last_digit(loop):
    make = loop if isinstance(loop, type) else lambda: loop
    called, called_buffers, reg = train("called", loop=make())
    attached, attached_buffers, other = train("attached", loop=make())
    without, _, _ = train("without", loop=make(), steps=1)
    assert same(called, attached)
    assert reg.values == other.values
    # The loss keeps its value, the gradient does not, and BatchNorm never saw the extra pass.
    assert torch.equal(without[0], attached[0])
    assert not same(without, attached[: len(without)])
    assert same(called_buffers, attached_buffers)


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
@pytest.mark.parametrize("way", ["called", "attached"])
def test_a_compiled_model_gives_what_the_eager_one_gives(backend, way):
    eager, _, _ = train(way, loop=plain)
    with_compile, _, reg = train(way, wrap=compiled(backend), loop=plain)
    assert reg.step == 3
    for a, b in zip(eager, with_compile, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_a_model_compiled_in_place_and_a_compiled_step():
    def in_place(model):
        model.compile(backend="eager")
        return model

    eager, _, _ = train("attached", loop=plain)
    assert same(train("attached", wrap=in_place, loop=plain)[0], eager)

    def step_compiled(model, term, step):
        loss = torch.compile(lambda x: F.cross_entropy(model(x), Y) + term(x), backend="eager")(X)
        loss.backward()
        return []

    compiled_step, _, reg = train("called", loop=step_compiled)
    assert reg.step == 3
    assert same(compiled_step, [seen for seen in train("called", loop=plain)[0] if seen.ndim])


def test_detach_takes_the_hook_away():
    model = network()
    reg = FoldingRegularizer(model, 0.5).attach().attach()
    assert len(model._forward_hooks) == 1
    reg.detach()
    reg.detach()
    assert not model._forward_hooks
    model(X).sum().backward()
    assert reg.step == 0


def test_nothing_happens_in_evaluation():
    model = network()
    reg = FoldingRegularizer(model, 0.5).attach()
    with torch.no_grad():
        model(X)
    model.eval()
    model(X).sum().backward()
    assert reg.step == 0


def test_copies_and_saved_models_carry_no_working_hook():
    model = network()
    reg = FoldingRegularizer(model, 0.5).attach()
    buffer = io.BytesIO()
    torch.save(model, buffer)
    buffer.seek(0)
    for other in (copy.deepcopy(model), torch.load(buffer, weights_only=False)):
        other(X).sum().backward()
        assert reg.step == 0


class Structured(nn.Module):
    """Called with positional and keyword inputs; gives a dict."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(6, 32), nn.Linear(32, 3)

    def forward(self, x, offset, *, factor=1.0):
        hidden = F.relu(self.first(x + offset)) * factor
        return {"logits": self.second(hidden), "hidden": hidden, "size": len(x)}


@pytest.mark.parametrize("wrap", [lambda model: model, compiled("eager")], ids=["plain", "compiled"])
def test_structured_inputs_and_outputs(wrap):
    def gradient(attached):
        torch.manual_seed(0)
        model = wrap(Structured())
        reg = FoldingRegularizer(model, 0.5)
        if attached:
            reg.attach()
        output = model(X, offset=X.flip(0), factor=2.0)
        assert output["size"] == 32
        loss = output["logits"].square().mean()
        if not attached:
            loss = loss + reg({"x": X, "offset": X.flip(0), "factor": 2.0})
        loss.backward()
        return [p.grad for p in model.parameters()]

    assert same(gradient(True), gradient(False))


def test_outputs_may_be_changed_in_place():
    model = network()
    FoldingRegularizer(model, 0.5).attach()
    output = model(X)
    output.mul_(2.0)
    output.sum().backward()


def test_a_gradient_penalty_passes_through():
    def gradient(attached):
        model = network()
        reg = FoldingRegularizer(model, 0.5)
        if attached:
            reg.attach()
        torch.manual_seed(3)
        x = X.clone().requires_grad_()
        output = model(x)
        (slope,) = torch.autograd.grad(output.square().sum(), x, create_graph=True)
        loss = slope.square().mean()
        (loss if attached else loss + reg(x)).backward()
        return [p.grad for p in model.parameters()]

    for a, b in zip(gradient(True), gradient(False), strict=True):
        torch.testing.assert_close(a, b)


def test_an_output_that_cannot_carry_a_gradient_is_named():
    class Numbers(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = network()

        def forward(self, x):
            return self.net(x).sum().item()

    model = Numbers()
    FoldingRegularizer(model, 0.5).attach()
    with pytest.raises(TypeError, match=r"add reg\(x\) to the loss"):
        model(X)
