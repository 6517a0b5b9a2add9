"""Training computes bit for bit the same with foldmon and without."""

from __future__ import annotations

import functools
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils import _pytree as pytree
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader, TensorDataset

import foldmon
from foldmon.folding.measuring import measure_with
from foldmon.folding.undisturbed.random_state import random_state
from tests.training.tasks import CLASSES, SIDE, TASKS, Call, Task

STEPS = 8
OPTIMIZERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "adam": lambda parameters: torch.optim.Adam(parameters, lr=1e-2),
    "sgd": lambda parameters: torch.optim.SGD(parameters, lr=1e-2, momentum=0.9),
}
MODES = ("plain", "amp", "accumulation", "compile", "checkpointing", "ema")


def images(count: int, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % CLASSES
    return torch.randn(count, 1, SIDE, SIDE, generator=generator) + labels[:, None, None, None], labels


def held_out(task: Task, model: nn.Module) -> tuple[Tensor, Tensor]:
    x, y = images(24, seed=5)
    if len(task.models) == 1:
        return x, y
    return (x.flatten(1)[:, :4] if model is task.models[0] else x.flatten(1)), y


def as_called(model: nn.Module, mode: str) -> Call:
    if mode == "compile":
        return torch.compile(model, backend="eager")
    if mode == "checkpointing":
        return functools.partial(checkpoint, model, use_reentrant=False)
    return model


def watched(task: Task, calls: list[Call], data: Any, **options: Any) -> list[foldmon.Monitor]:
    return [
        foldmon.watch(
            call if isinstance(call, nn.Module) else model,
            held_out(task, model) if data is None else data,
            every=2, pairs=4, points=5, exporters=[], **options,
        )
        for model, call in zip(task.models, calls, strict=True)
    ]  # fmt: skip


def run(
    name: str,
    optimizer: str,
    mode: str,
    options: dict[str, Any] | None = None,
    data: Any = None,
    workers: int = 0,
) -> dict[str, Any]:
    """Train a few steps from fixed seeds; everything that training leaves behind."""
    torch.compiler.reset()
    random.seed(1)
    np.random.seed(2)
    torch.manual_seed(3)
    task = TASKS[name]()
    optimizers = [OPTIMIZERS[optimizer](model.parameters()) for model in task.models]
    calls = [as_called(model, mode) for model in task.models]
    averages = [
        AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True)
        for model in task.models
    ]
    monitors = [] if options is None else watched(task, calls, data, **options)
    loader = DataLoader(TensorDataset(*images(64, seed=4)), batch_size=8, shuffle=True, num_workers=workers)
    losses = []
    for step, (x, y) in enumerate(loader):
        x = x * random.uniform(0.9, 1.1) + float(np.random.normal(0, 0.1)) + 0.1 * torch.randn_like(x)
        parts = 2 if mode == "accumulation" else 1
        for turn, stepped in enumerate(optimizers):
            stepped.zero_grad()
            for x_part, y_part in zip(x.chunk(parts), y.chunk(parts), strict=True):
                with torch.autocast("cpu", torch.bfloat16, enabled=mode == "amp"):
                    loss = task.loss(turn, calls, x_part, y_part) / parts
                loss.backward()
                losses.append(loss.item())
            stepped.step()
        if mode == "ema":
            for average, model in zip(averages, task.models, strict=True):
                average.update_parameters(model)
        if step == STEPS // 2 - 1:
            for monitor in monitors:
                monitor.flush()  # so that a further probe falls due and runs beside the steps that follow
    left = {
        "losses": losses,
        "models": [model.state_dict() for model in task.models],
        "modes": [[module.training for module in model.modules()] for model in task.models],
        "gradients": [[p.grad for p in model.parameters()] for model in task.models],
        "averages": [average.state_dict() for average in averages],
        "optimizers": [stepped.state_dict() for stepped in optimizers],
        "random": random_state(),
    }
    for monitor in monitors:
        monitor.close()
        assert monitor.steps == STEPS
        assert len(monitor.history) >= 2, "probes ran, or this test shows nothing"
    return left


def differences(one: Any, other: Any) -> list[str]:
    """Paths of the leaves that are not equal to the last bit."""
    flat, spec = pytree.tree_flatten_with_path(one)
    flat_other, spec_other = pytree.tree_flatten_with_path(other)
    assert spec == spec_other
    leaves = zip(flat, flat_other, strict=True)
    return [pytree.keystr(path) for (path, a), (_, b) in leaves if not equal(a, b)]


def equal(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor):
        return torch.equal(a, b)
    return bool(np.array_equal(a, b)) if isinstance(a, np.ndarray) else a == b


@functools.cache
def without_foldmon(name: str, optimizer: str, mode: str) -> dict[str, Any]:
    return run(name, optimizer, mode)


@pytest.mark.parametrize("background", [True, False], ids=["background", "synchronous"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("name", TASKS)
def test_training_is_the_same_with_and_without_foldmon(name, optimizer, mode, background):
    plain = without_foldmon(name, optimizer, mode)
    assert differences(plain, run(name, optimizer, mode, {"background": background})) == []


def test_a_probe_that_drew_one_number_would_be_noticed(monkeypatch):
    def measure_and_draw(*args: Any, **kwargs: Any) -> foldmon.FoldingReport:
        torch.rand(1)
        return measure_with(*args, **kwargs)

    monkeypatch.setattr("foldmon.sampling.plan.measure_with", measure_and_draw)
    disturbed = run("cnn", "adam", "plain", {"background": True})
    assert "['random']['torch']" in differences(without_foldmon("cnn", "adam", "plain"), disturbed)


@pytest.mark.parametrize("background", [True, False], ids=["background", "synchronous"])
def test_a_shuffled_loader_with_workers_as_held_out_data(background):
    data = DataLoader(TensorDataset(*images(24, seed=5)), batch_size=4, shuffle=True, num_workers=2)
    plain = run("cnn", "adam", "plain", workers=2)
    assert differences(plain, run("cnn", "adam", "plain", {"background": background}, data, workers=2)) == []
