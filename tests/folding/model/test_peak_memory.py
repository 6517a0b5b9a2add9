"""A measurement stays within a bounded memory, whatever part of the model is wide.

Each case runs in a process of its own, whose highest resident memory is read.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import foldmon

ROOT = Path(__file__).parents[3]
STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def head(*layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(*layers, nn.ReLU(), nn.Linear(16, 4))


class InDouble(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.wide, self.head = nn.Linear(32, 50_000), head(nn.Linear(50_000, 16))

    def forward(self, x: Tensor) -> Any:
        z = self.wide(x).double()
        return self.head((z - z.mean(1, keepdim=True)).float())


class ManyOutputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.small, self.wide = head(nn.Linear(32, 16)), nn.Linear(4, 50_000)

    def forward(self, x: Tensor) -> Any:
        logits = self.small(x)
        return {"logits": logits, "maps": (self.wide(logits), [self.wide(logits)])}


class Pooled(nn.Module):
    """Looks at all tokens at once, in narrow layers."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.head = nn.Embedding(100, 128), head(nn.Linear(128, 16))

    def forward(self, tokens: Tensor) -> Any:
        return self.head(self.embed(tokens).mean(1))


def numbers(width: int) -> Callable[[], tuple[Tensor, Tensor]]:
    return lambda: (torch.randn(32, width), torch.randn(32, width))


# By name: the model, its inputs, and the MiB that all rows would take in one pass at least.
CASES: dict[str, tuple[Callable[[], nn.Module], Callable[[], Any], int]] = {
    "inputs": (lambda: head(nn.Linear(200_000, 16)), numbers(200_000), 800),
    "half inputs": (lambda: head(nn.Linear(200_000, 16)).bfloat16(), numbers(200_000), 1200),
    "linear layer": (lambda: head(nn.Linear(32, 200_000), nn.Linear(200_000, 16)), numbers(32), 800),
    "double": (InDouble, numbers(32), 800),
    "many outputs": (ManyOutputs, numbers(32), 400),
    "8,192 tokens": (Pooled, lambda: tuple(torch.randint(100, (2, 8, 8192))), 2000),
}


def mebibytes(field: str) -> int:
    lines = STATUS.read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:")) // 1024


def child(case: str) -> None:
    """Print the MiB that a measurement adds at its peak."""
    build, inputs, _ = CASES[case]
    model, ends = build().eval(), inputs()
    with torch.no_grad():
        model(ends[0][:1].to(next(model.parameters()).dtype) if ends[0].is_floating_point() else ends[0][:1])
    before = mebibytes("VmRSS")
    RESET.write_text("5")  # starts VmHWM anew
    foldmon.measure(model, ends)
    print(mebibytes("VmHWM") - before)


EVERY_TIME = ("many outputs", "8,192 tokens")


@pytest.mark.skipif(not RESET.exists(), reason="the highest resident memory is read from Linux")
@pytest.mark.parametrize(
    "case",
    [case if case in EVERY_TIME else pytest.param(case, marks=pytest.mark.slow) for case in CASES],
)
def test_wide_parts_take_bounded_memory(case: str) -> None:
    code = f"from tests.folding.model.test_peak_memory import child; child({case!r})"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    assert int(run.stdout) < min(400, CASES[case][2] // 2)
