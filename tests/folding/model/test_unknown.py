"""Activation layers that foldmon does not know are found by trying them; nothing else is."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import foldmon


class Snake(nn.Module):
    """An activation function with a weight a channel."""

    def __init__(self) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(1, 6, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.sin(self.alpha * x) ** 2 / self.alpha


class SquareHead(nn.Module):
    """Its name says nothing of what it does."""

    def forward(self, x: Tensor) -> Tensor:
        return x * x


class Masked(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * (x > 0)


class Affine(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((6, 1), 2.0))

    def forward(self, x: Tensor) -> Tensor:
        return (self.scale * x).float() - 1


class ChannelNorm(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return (x - x.mean(1, keepdim=True)) / x.std(1, keepdim=True)


class Transform(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.fft.fft(x).real


class Halves(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x[..., ::2].abs()


class Twice(nn.Module):
    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        return x @ x.transpose(-1, -2) @ x


def not_covered(layer: nn.Module) -> dict[str, str]:
    torch.manual_seed(0)
    a, b = torch.randn(3, 6, 8), torch.randn(3, 6, 8)
    return dict(foldmon.measure(nn.Sequential(layer, nn.ReLU()), (a, b), points=3).coverage.not_covered)


@pytest.mark.parametrize("cls", [Snake, SquareHead, Masked])
def test_what_bends_each_number_on_its_own_is_reported(cls: type[nn.Module]) -> None:
    found = not_covered(cls())
    assert list(found) == ["0"]
    assert f"register_activation({cls.__name__}, thresholds)" in found["0"]


@pytest.mark.parametrize("cls", [Affine, ChannelNorm, Transform, Halves, Twice])
def test_what_is_linear_or_mixes_its_input_is_not(cls: type[nn.Module]) -> None:
    assert not_covered(cls()) == {}


def test_hooks_of_the_users_are_not_called_by_trying() -> None:
    seen: list[int] = []
    layer = SquareHead()
    layer.register_forward_hook(lambda module, args, output: seen.append(len(args[0])))
    not_covered(layer)
    assert seen == [3, 5, 9]  # two scouting passes, and the points themselves
