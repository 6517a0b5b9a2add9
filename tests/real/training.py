"""What a training in ``tests/real`` is: code as its framework's users write it, with the one line in it."""

from __future__ import annotations

import hashlib
import importlib.util
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import foldmon


class Line:
    """The one line, or nothing where the same training is run without it.

    Attributes:
        on: whether the training is watched.
        monitor: that of the first model watched.
    """

    def __init__(self, on: bool) -> None:
        self.on = on
        self.monitor: foldmon.Monitor | None = None

    def __call__(self, model: nn.Module, data: Any, **options: Any) -> None:
        """``foldmon.watch(model, data)``, where a user would put it."""
        if self.on:
            monitor = foldmon.watch(model, data, **options)
            self.monitor = self.monitor or monitor


@dataclass
class Outcome:
    """What a training leaves behind.

    Attributes:
        model: the one that was watched.
        steps: training steps of it.
        call: passes held-out inputs forward once, in eval mode.
        losses: of all steps, as far as the framework shows them.
        others: models that were trained beside it.
    """

    model: nn.Module
    steps: int
    call: Callable[[], Any]
    losses: list[float] = field(default_factory=list)
    others: tuple[nn.Module, ...] = ()


@dataclass(frozen=True)
class Training:
    """A training that the runner knows.

    Attributes:
        run: trains a few dozen steps.
        needs: modules that must be importable.
        argument: what the one line needs beside model and data, as the table shows it; "" for nothing.
        refused: part of the message, where nothing of the model can be measured and training must go on.
    """

    run: Callable[[Line], Outcome]
    needs: tuple[str, ...]
    argument: str
    refused: str

    @property
    def installed(self) -> bool:
        return all(importlib.util.find_spec(name) is not None for name in self.needs)


TRAININGS: dict[str, Training] = {}


def training(
    name: str, *needs: str, argument: str = "", refused: str = ""
) -> Callable[[Callable[[Line], Outcome]], Callable[[Line], Outcome]]:
    """Register a training under a name."""

    def register(run: Callable[[Line], Outcome]) -> Callable[[Line], Outcome]:
        TRAININGS[name] = Training(run, needs, argument, refused)
        return run

    return register


def seed() -> None:
    random.seed(1)
    np.random.seed(2)
    torch.manual_seed(3)


def blobs(count: int, *shape: int, classes: int = 3, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs of that shape around one centre a class, and their classes."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % classes
    centres = torch.randn(classes, *shape, generator=torch.Generator().manual_seed(99))
    return centres[labels] + torch.randn(count, *shape, generator=generator), labels


def loop(
    model: nn.Module,
    loss_of: Callable[[], torch.Tensor],
    steps: int = 30,
    rate: float = 1e-3,
    optimizer: torch.optim.Optimizer | None = None,
) -> list[float]:
    """The plain training loop."""
    optimizer = optimizer or torch.optim.Adam(model.parameters(), lr=rate)
    losses = []
    for _ in range(steps):
        loss = loss_of()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def digest(outcome: Outcome) -> dict[str, str]:
    """Hashes of the weights, of the losses and of all random states."""
    models = (outcome.model, *outcome.others)
    states = [
        torch.get_rng_state(),
        repr(random.getstate()).encode(),
        repr([np.asarray(part).tolist() for part in np.random.get_state()[1:]]).encode(),
    ]
    return {
        "weights": _hash(tensor for model in models for tensor in model.state_dict().values()),
        "losses": _hash([repr(outcome.losses).encode()]),
        "random states": _hash(states),
    }


def _hash(parts: Iterable[Any]) -> str:
    found = hashlib.sha256()
    for part in parts:
        if isinstance(part, torch.Tensor):
            part = (
                part.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes()
                if part.numel()
                else b""
            )
        found.update(part if isinstance(part, bytes) else repr(part).encode())
    return found.hexdigest()[:16]


KERNELS = (
    "relu", "relu_", "gelu", "gelu_", "silu", "silu_", "tanh", "tanh_", "sigmoid", "sigmoid_", "leaky_relu",
    "leaky_relu_", "elu", "elu_", "hardtanh", "hardtanh_", "hardswish", "hardswish_", "hardsigmoid",
    "hardsigmoid_", "mish", "mish_", "softplus", "glu", "prelu", "_prelu_kernel",
    "log_sigmoid_forward", "rrelu", "celu", "selu",
)  # fmt: skip


class Kernels(TorchDispatchMode):
    """Counts the kernels of activation functions that run."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func.overloadpacket.__name__ in KERNELS
        return func(*args, **(kwargs or {}))


def kernels(outcome: Outcome) -> int:
    """Activation kernels of one forward pass."""
    before = outcome.model.training
    outcome.model.eval()
    with torch.no_grad(), Kernels() as counted:
        outcome.call()
    outcome.model.train(before)
    return counted.count
