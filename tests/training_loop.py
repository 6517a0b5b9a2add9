"""An ordinary training loop, as a user would have it."""

from __future__ import annotations

import torch
from torch import nn


def train(model: nn.Module, steps: int, optimizer: torch.optim.Optimizer | None = None) -> list[float]:
    """Train on random batches drawn from the global generator; returns every step's loss."""
    optimizer = optimizer or torch.optim.Adam(model.parameters(), lr=1e-3)
    losses = []
    for _ in range(steps):
        inputs = torch.randn(16, 8)
        labels = (inputs.sum(1) > 0).long()
        loss = nn.functional.cross_entropy(model(inputs), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses
