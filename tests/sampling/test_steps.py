from __future__ import annotations

import copy
import gc
import threading
import weakref

import pytest
import torch
from torch import nn

import foldmon
from foldmon.sampling.steps import StepCounter
from tests.training_loop import train


class Counted:
    """A counter and what it counted."""

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer | None = None) -> None:
        self.steps = 0
        self.counter = StepCounter(model, self._add, optimizer)

    def _add(self, steps: int) -> None:
        self.steps += steps


@pytest.fixture
def count():
    made: list[Counted] = []

    def start(model: nn.Module, optimizer: torch.optim.Optimizer | None = None) -> Counted:
        made.append(Counted(model, optimizer))
        return made[-1]

    yield start
    for counted in made:
        counted.counter.close()


def sgd(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=0.01)


def backward(model: nn.Module) -> None:
    model(torch.randn(4, 8)).square().mean().backward()


def test_an_optimizer_is_found_without_being_passed(mlp, count):
    optimizer = sgd(mlp)
    counted = count(mlp)
    train(mlp, 5, optimizer)
    assert counted.steps == 5


def test_an_optimizer_made_after_watching_is_found(mlp, count):
    counted = count(mlp)
    train(mlp, 5, sgd(mlp))
    assert counted.steps == 5


@pytest.mark.parametrize("early", [True, False], ids=["optimizer before", "optimizer after"])
def test_accumulated_gradients_are_one_step(mlp, count, early):
    optimizer = sgd(mlp) if early else None
    counted = count(mlp)
    optimizer = optimizer or sgd(mlp)
    for _ in range(3):
        for _ in range(4):
            backward(mlp)
        optimizer.step()
    assert counted.steps == 3


def test_an_optimizer_that_is_passed_is_counted_and_no_other(mlp, count):
    passed, other = sgd(mlp), sgd(mlp)
    counted = count(mlp, passed)
    for _ in range(3):
        train(mlp, 2, other)
        train(mlp, 1, passed)
    assert counted.steps == 3


def test_two_optimizers_of_one_model_are_one_step(mlp, count):
    weights = torch.optim.SGD([p for p in mlp.parameters() if p.ndim == 2], lr=0.01)
    biases = torch.optim.Adam([p for p in mlp.parameters() if p.ndim == 1])
    counted = count(mlp)
    for _ in range(40):
        backward(mlp)
        weights.step()
        biases.step()
    assert counted.steps == 40


def test_an_optimizer_a_parameter_is_one_step(mlp, count):
    """As where the optimizer steps within the backward pass."""
    optimizers = [torch.optim.SGD([p], lr=0.01) for p in mlp.parameters() for _ in range(3)]
    assert len(optimizers) > 16
    counted = count(mlp)
    for _ in range(40):
        backward(mlp)
        for optimizer in optimizers:
            optimizer.step()
    assert counted.steps == 40


def test_a_critic_that_steps_more_often_does_not_count(mlp, count):
    critic = copy.deepcopy(mlp)
    ours, theirs = sgd(mlp), sgd(critic)
    counted = count(mlp)
    for _ in range(3):
        train(critic, 20, theirs)
        train(mlp, 1, ours)
    assert counted.steps == 3


def test_a_new_optimizer_takes_over_when_the_old_one_is_gone(mlp, count):
    counted = count(mlp)
    train(mlp, 5, sgd(mlp))
    gc.collect()
    train(mlp, 5, torch.optim.Adam(mlp.parameters()))
    assert counted.steps == 10


def test_a_new_optimizer_takes_over_from_one_that_stays_and_no_step_is_lost(mlp, count):
    old, new = sgd(mlp), torch.optim.Adam(mlp.parameters())
    counted = count(mlp)
    train(mlp, 5, old)
    train(mlp, 30, new)
    assert counted.steps == 35
    train(mlp, 5, new)
    assert counted.steps == 40


def test_optimizers_that_take_turns_lose_no_step(mlp, count):
    """A new one each epoch, or two for stretches of the training."""
    optimizers = [sgd(mlp), torch.optim.Adam(mlp.parameters()), sgd(mlp)]
    counted = count(mlp)
    for optimizer in (*optimizers, *optimizers):
        train(mlp, 4, optimizer)
    assert counted.steps == 24


def test_two_optimizers_of_the_same_weights_within_a_step_are_one_step(mlp, count):
    inner = sgd(mlp)
    outer = torch.optim.SGD(inner.param_groups, lr=0.01)  # as sharpness-aware minimization wraps another
    counted = count(mlp)
    for _ in range(20):
        backward(mlp)
        inner.step()
        outer.step()
    assert counted.steps == 20


def test_an_old_optimizer_that_never_stepped_does_not_stand_in_the_way(mlp, count):
    idle = sgd(mlp)
    counted = count(mlp)
    train(mlp, 5, torch.optim.Adam(mlp.parameters()))
    assert counted.steps == 5
    assert idle.state_dict()["state"] == {}


class Wrapper:
    """As training frameworks have it: forwards to the optimizer inside."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.optimizer = optimizer

    def step(self) -> None:
        self.optimizer.step()

    def zero_grad(self) -> None:
        self.optimizer.zero_grad()


@pytest.mark.parametrize("passed", [True, False])
def test_wrapped_optimizers_are_looked_into(mlp, count, passed):
    optimizer = Wrapper(sgd(mlp))
    counted = count(mlp, optimizer if passed else None)
    train(mlp, 5, optimizer)
    assert counted.steps == 5


def test_accelerate_counts_as_it_is(mlp, count):
    accelerate = pytest.importorskip("accelerate")
    accelerator = accelerate.Accelerator(cpu=True)
    model, optimizer = accelerator.prepare(mlp, sgd(mlp))
    counted = count(model, optimizer)
    for _ in range(5):
        loss = model(torch.randn(4, 8)).mean()
        accelerator.backward(loss)
        optimizer.step()
    assert counted.steps == 5


def test_a_step_that_the_gradient_scaler_leaves_out_is_none(mlp, count):
    optimizer = sgd(mlp)
    counted = count(mlp)
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    for scale in (1.0, float("inf"), 1.0):
        optimizer.zero_grad()
        scaler.scale(mlp(torch.randn(4, 8)).mean() * scale).backward()
        scaler.step(optimizer)
        scaler.update()
    assert counted.steps == 2


def test_a_closure_is_one_step(mlp, count):
    optimizer = torch.optim.LBFGS(mlp.parameters(), max_iter=4)
    counted = count(mlp)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = mlp(torch.ones(4, 8)).square().mean()
        loss.backward()
        return loss

    optimizer.step(closure)
    assert counted.steps == 1


def test_without_an_optimizer_backward_passes_count(mlp, count):
    counted = count(mlp)
    for _ in range(4):
        backward(mlp)
        mlp(torch.randn(4, 8))
    assert counted.steps == 4
    train(mlp, 3, sgd(mlp))
    assert counted.steps <= 8, "an optimizer that comes late is counted instead"


@pytest.mark.parametrize("each", [False, True])
def test_an_optimizer_made_in_the_first_step_counts_it_once(mlp, count, each):
    counted = count(mlp)
    optimizers: list[torch.optim.Optimizer] = []
    for _ in range(5):
        backward(mlp)
        if not optimizers:
            parts = [[p] for p in mlp.parameters()] if each else [list(mlp.parameters())]
            optimizers += [torch.optim.SGD(part, 0.1) for part in parts]
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
    assert counted.steps == 5


def test_steps_can_be_told_by_hand(mlp, held_out):
    optimizer = sgd(mlp)
    monitor = foldmon.watch(mlp, held_out, every=1000, exporters=[])
    train(mlp, 2, optimizer)
    for _ in range(3):
        monitor.step()
    train(mlp, 2, optimizer)
    assert monitor.steps == 5, "from the first call on, these calls only"


def test_steps_told_by_hand_after_each_step_that_is_seen_are_those_steps(mlp, held_out):
    optimizer = sgd(mlp)
    monitor = foldmon.watch(mlp, held_out, every=1000, exporters=[])
    for _ in range(4):
        train(mlp, 1, optimizer)
        monitor.step()
    assert monitor.steps == 4


def test_what_is_no_optimizer_is_refused(mlp, held_out):
    with pytest.raises(TypeError, match=r"must be a torch\.optim\.Optimizer, got str.*monitor\.step"):
        foldmon.watch(mlp, held_out, optimizer="adam", exporters=[])


def test_closing_leaves_nothing_behind(mlp, count):
    from torch.optim.optimizer import _global_optimizer_post_hooks

    def hooks():
        """Where other threads are at work an idle one is left."""
        return [hook for hook in _global_optimizer_post_hooks.values() if getattr(hook, "_counters", True)]

    before = len(hooks())
    counted = count(mlp)
    backward(mlp)
    assert len(hooks()) == before + 1
    counted.counter.close()
    assert len(hooks()) == before
    steps = counted.steps
    train(mlp, 3)
    assert counted.steps == steps
    assert not mlp[0].weight._post_accumulate_grad_hooks


def test_a_counter_keeps_no_model_and_no_optimizer_alive(count):
    model = nn.Sequential(nn.Linear(8, 8), nn.ReLU())
    counted = count(model)
    optimizer = sgd(model)
    train(model, 3, optimizer)
    alive = weakref.ref(model), weakref.ref(optimizer)
    del model, optimizer
    gc.collect()
    assert [reference() for reference in alive] == [None, None]
    assert counted.steps == 3


def test_looking_for_an_optimizer_disturbs_no_other_thread(mlp, count):
    """A list of all objects would hold tuples that another thread is building, which then fails to."""
    failed, done = [], threading.Event()

    def build():
        while not done.is_set():
            try:
                tuple(number for number in range(200))
            except SystemError as error:
                failed.append(error)

    thread = threading.Thread(target=build)
    thread.start()
    for _ in range(20):
        count(mlp)
    done.set()
    thread.join()
    assert not failed
