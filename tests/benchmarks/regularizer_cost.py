"""What the regularizer costs: step time against plain training, measured side by side.

    python tests/benchmarks/regularizer_cost.py

Every round times a block of steps of each variant in turn; the figures are medians over rounds of the
ratio to the plain block of the same round. On the CPU one thread is used and CPU time is taken, so that
other processes of the machine do not count.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from statistics import median

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from foldmon import FoldingRegularizer
from foldmon.regularize import sparse

CLASSES = 10


def mlp(width: int, depth: int) -> nn.Module:
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers += [nn.LazyLinear(width), nn.ReLU()]
    return nn.Sequential(*layers, nn.LazyLinear(CLASSES))


def cnn(width: int) -> nn.Module:
    layers: list[nn.Module] = []
    for stage in range(3):
        for stride in (1, 2):
            channels = width * 2**stage
            layers += [
                nn.LazyConv2d(channels, 3, stride=stride, padding=1, bias=False),
                nn.LazyBatchNorm2d(),
                nn.ReLU(inplace=True),
            ]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LazyLinear(CLASSES))


class Encoder(nn.Module):
    """A transformer over 16 patches of 48 numbers."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(width, 4, 4 * width, dropout=0.0, batch_first=True)
        self.embed, self.head = nn.Linear(48, width), nn.Linear(width, CLASSES)
        self.encoder = nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.encoder(self.embed(x)).mean(1))
        return logits


WORKLOADS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "MLP 3x64, batch 32": (lambda: mlp(64, 3), (32, 64)),
    "MLP 4x1024, batch 128": (lambda: mlp(1024, 4), (128, 256)),
    "CNN of 6, 32x32, batch 128": (lambda: cnn(16), (128, 3, 32, 32)),
    "transformer 4x128, batch 128": (lambda: Encoder(128, 4), (128, 16, 48)),
}
VARIANTS: dict[str, Callable[[nn.Module], FoldingRegularizer | None]] = {
    "plain": lambda model: None,
    "default": lambda model: FoldingRegularizer(model),
    "2 pairs of 3 points": lambda model: FoldingRegularizer(model, pairs=2, points=3),
    "sparse, every 4th step": lambda model: FoldingRegularizer(model, sparse(1e-2, every=4)),
}


def steps(make: Callable[[], nn.Module], shape: tuple[int, ...], variant: str, device: str) -> Iterator[None]:
    """Trains a network of its own, one step at a time."""
    torch.manual_seed(0)
    model = make().to(device)
    x = torch.randn(shape, device=device)
    y = torch.randint(CLASSES, shape[:1], device=device)
    model(x)
    reg = VARIANTS[variant](model)
    optimizer = torch.optim.AdamW(model.parameters())
    while True:
        loss = F.cross_entropy(model(x), y)
        if reg is not None:
            loss = loss + reg(x, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        yield


def seconds(training: Iterator[None], count: int, device: str) -> float:
    clock = time.perf_counter if device == "cuda" else time.process_time
    began = clock()
    for _ in range(count):
        next(training)
    if device == "cuda":
        torch.cuda.synchronize()
    return (clock() - began) / count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--steps", type=int, default=4, help="steps of a block, a multiple of 4")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{arguments.device}, torch {torch.__version__}")
    print("| workload | plain step | " + " | ".join(list(VARIANTS)[1:]) + " |")
    print("| --- " * (len(VARIANTS) + 1) + "|")
    for workload, (make, shape) in WORKLOADS.items():
        trainings = {name: steps(make, shape, name, arguments.device) for name in VARIANTS}
        times: dict[str, list[float]] = {name: [] for name in VARIANTS}
        for training in trainings.values():
            seconds(training, 4, arguments.device)
        for _ in range(arguments.rounds):
            for name, training in trainings.items():
                times[name].append(seconds(training, arguments.steps, arguments.device))
        ratios = [
            f"{median(a / b for a, b in zip(times[name], times['plain'], strict=True)):.2f}"
            for name in list(VARIANTS)[1:]
        ]
        print(
            f"| {workload} | {1e3 * median(times['plain']):.2f} ms | " + " | ".join(ratios) + " |", flush=True
        )


if __name__ == "__main__":
    main()
