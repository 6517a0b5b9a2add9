"""Rewarding folding: the same network with and without the term, on little data.

    python examples/regularizer.py

One seed shows how the term is used and what it does to phi; whether it helps the accuracy is a question for
many seeds, see the benchmark in tests/benchmarks/regularizer.
"""

from __future__ import annotations

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F

import foldmon

SIZE, STEPS = 200, 400
data = load_digits()
order = torch.randperm(len(data.target), generator=torch.Generator().manual_seed(0))
images = torch.tensor(data.data / 16, dtype=torch.float32)[order]
labels = torch.tensor(data.target)[order]
held_out = images[1000:], labels[1000:]


def trained(weight: float) -> tuple[float, float]:
    """Folding and accuracy on held-out images."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(64, 100), nn.ReLU(), nn.Linear(100, 100), nn.ReLU(), nn.Linear(100, 100), nn.ReLU(),
        nn.Linear(100, 10),
    )  # fmt: skip
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    regularizer = foldmon.FoldingRegularizer(model, weight=weight)
    for _ in range(STEPS):
        rows = torch.randint(SIZE, (32,))
        loss = F.cross_entropy(model(images[rows]), labels[rows])
        if weight:
            loss = loss + regularizer(images[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        accuracy = float((model(held_out[0]).argmax(1) == held_out[1]).float().mean())
    return foldmon.measure(model, foldmon.draw_pairs(held_out)).phi, accuracy


for weight in (0.0, 1.0, -1.0):
    phi, accuracy = trained(weight)
    print(f"weight {weight:>4}: phi {phi:.4f}, accuracy {accuracy:.1%}")
