"""Measuring in another thread must leave autocast's cache, which all threads share, alone."""

from __future__ import annotations

import torch
from torch import nn

import foldmon


class UsedTwice(nn.Module):
    """A layer called twice: with the cache its gradients are summed in bfloat16, without it in float32."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 8)
        self.relu = nn.ReLU()
        self.between = lambda: None

    def forward(self, x):
        h = self.relu(self.layer(x))
        self.between()
        with torch.autocast("cpu", enabled=False):  # as rotary embeddings do
            h = h.float()
        return self.relu(self.layer(h * 1.37))


def gradient(model: UsedTwice) -> torch.Tensor:
    model.zero_grad()
    x = torch.linspace(-1, 1, 32).reshape(4, 8)
    with torch.autocast("cpu", torch.bfloat16):
        y = model(x)
    y.float().square().sum().backward()
    return model.layer.weight.grad.clone()


def test_a_probe_in_mid_forward_does_not_change_the_gradient(held_out):
    model = UsedTwice()
    monitor = foldmon.watch(model, held_out, every=1000, exporters=[])
    monitor.flush()
    plain = gradient(model)
    sampler, measure = monitor._sampler, monitor._subject.measure

    def probe_beside() -> None:
        assert sampler.offer(measure)
        assert sampler.wait(30)

    model.between = probe_beside
    assert torch.equal(gradient(model), plain)


def test_clearing_the_cache_would_change_it(held_out):
    model = UsedTwice()
    plain = gradient(model)
    model.between = torch.clear_autocast_cache
    assert not torch.equal(gradient(model), plain)
