"""One batched probe against the obvious loops over pairs and points.

"torch loop": one forward pass a point, codes and distances by torch. "plain loop": the same, with
distances counted unit by unit, as the definition reads. Both see the same points and give the same
numbers, which is checked. "at most" is the torch loop over the bare forward pass of all points at once:
what it would be if measuring cost nothing.

    OMP_NUM_THREADS=1 python tests/benchmarks/against_loop.py
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from workloads import mlp

import foldmon


def by_loop(model: nn.Module, x1: Tensor, x2: Tensor, points: int, plain: bool) -> np.ndarray:
    """r2 of every path and layer, point after point."""
    records: list[Tensor] = []
    hooks = [
        module.register_forward_pre_hook(lambda _, args: records.append(args[0] > 0))
        for module in model.modules()
        if isinstance(module, nn.ReLU)
    ]

    def distance(a: Tensor, b: Tensor) -> int:
        if plain:
            return sum(x != y for x, y in zip(a.flatten().tolist(), b.flatten().tolist(), strict=True))
        return int((a != b).sum())

    walked = []
    with torch.no_grad():
        for a, b in zip(x1, x2, strict=True):
            codes = []
            for t in torch.linspace(0, 1, points):
                records.clear()
                model(torch.lerp(a, b, t).unsqueeze(0))
                codes.append(list(records))
            r1 = [max(distance(code[i], codes[0][i]) for code in codes) for i in range(len(hooks))]
            steps = pairwise(codes)
            r2 = np.array([[distance(p, q) for p, q in zip(one, two, strict=True)] for one, two in steps])
            walked.append([r1, r2.sum(0)])
    for hook in hooks:
        hook.remove()
    return np.array(walked).swapaxes(0, 1)


def seconds(run: Callable[[], object]) -> float:
    """Wall time of one run."""
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--paths", type=int, default=64)
    parser.add_argument("--points", type=int, default=33)
    arguments = parser.parse_args()
    head = f"{'model':14}{'foldmon s':>11}{'torch loop s':>14}{'times':>7}{'at most':>9}"
    print(f"{head}{'plain loop s':>14}{'times':>7}")
    for width, depth in ((32, 4), (128, 4), (512, 6)):
        torch.manual_seed(0)
        model = mlp(width, depth).double().eval()
        x1, x2 = torch.randn(2, arguments.paths, width, dtype=torch.float64)
        report = foldmon.measure(model, (x1, x2), points=arguments.points)
        plain_began = time.perf_counter()
        by_hand = by_loop(model, x1[:8], x2[:8], arguments.points, plain=True)
        plain = (time.perf_counter() - plain_began) * arguments.paths / 8
        assert np.mean(by_hand == np.stack([report.r1, report.r2])[:, :8]) > 0.99
        probe = partial(foldmon.measure, model, (x1, x2), points=arguments.points)
        one_by_one = partial(by_loop, model, x1, x2, arguments.points, plain=False)
        t = torch.linspace(0, 1, arguments.points).double()[:, None, None]
        batch = torch.lerp(x1, x2, t).flatten(0, 1)
        fast, loop, bare = [], [], []
        for _ in range(arguments.repeats):
            fast.append(seconds(probe))
            loop.append(seconds(one_by_one))
            with torch.no_grad():
                bare.append(seconds(partial(model, batch)))
        ours, torchs = statistics.median(fast), statistics.median(loop)
        limit = torchs / statistics.median(bare)
        print(
            f"MLP {depth} x {width:<6}{ours:>11.4f}{torchs:>14.2f}{torchs / ours:>7.0f}{limit:>9.0f}"
            f"{plain:>14.1f}{plain / ours:>7.0f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
