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


class ThresholdedNorm(nn.Module):
    """Divides each channel by its size, and cuts it at a threshold that it learns."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(6, 1))
        self.cut = nn.Parameter(torch.zeros(6, 1))

    def forward(self, x: Tensor) -> Tensor:
        size = x.square().mean(-1, keepdim=True).add(1e-6).rsqrt()
        return torch.maximum(self.scale * x * size, self.cut)


class Spiking(nn.Module):
    """Integrates its input and puts out a one where it passes a threshold, with its state."""

    def __init__(self, threshold: float = 1.0) -> None:
        super().__init__()
        self.threshold = threshold

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        state = x if state is None else 0.9 * state + x
        return (state > self.threshold).to(x.dtype), state


class Steps(nn.Module):
    def __init__(self, cell: nn.Module, tail: nn.Module) -> None:
        super().__init__()
        self.linear, self.cell, self.tail = nn.Linear(8, 8), cell, tail

    def forward(self, x: Tensor) -> Tensor:
        state, spikes = None, x
        for _ in range(4):
            spikes, state = self.cell(self.linear(x), state)
        return self.tail(spikes)


@pytest.mark.parametrize("size", [1, 8, 4096])
def test_a_norm_with_a_learned_cut_is_named_without_wrong_advice(size: int) -> None:
    model = nn.Sequential(ThresholdedNorm(), nn.ReLU(), ThresholdedNorm())
    report = foldmon.measure(model, (torch.randn(3, 6, size), torch.randn(3, 6, size)), points=3)
    if size == 1:
        return  # of a single number the norm is its sign: it cannot be told from an activation function
    assert list(report.coverage.not_covered) == ["0", "2"]
    assert all("register" not in why for why in report.coverage.not_covered.values())
    assert "0, 2 (2 places): ThresholdedNorm bends values at a cut of its own" in str(report.coverage)


@pytest.mark.parametrize("threshold", [0.2, 100.0])
def test_spiking_layers_are_called_by_what_they_are(threshold: float) -> None:
    ends = torch.randn(3, 8), torch.randn(3, 8)
    report = foldmon.measure(
        Steps(Spiking(threshold), nn.Sequential(nn.Linear(8, 4), nn.Tanh())), ends, points=3
    )
    assert report.layers == ("tail.1",)
    assert report.coverage.not_covered["cell"].startswith("Spiking puts out zeros and ones")
    with pytest.raises(ValueError, match="Spiking layers are not covered") as caught:
        foldmon.measure(Steps(Spiking(threshold), nn.Linear(8, 4)), ends)
    assert "register_activation" not in str(caught.value)


class Recurrent(nn.Module):
    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer, self.head = layer, nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        out = self.layer(x)
        out = out[0] if isinstance(out, tuple) else out
        return self.head(out if out.ndim == 2 else out[:, -1])


@pytest.mark.parametrize("cls", [nn.RNN, nn.LSTM, nn.GRU])
@pytest.mark.parametrize("cells", [False, True])
def test_models_of_recurrent_kernels_alone_are_told_so(cls: type[nn.Module], cells: bool) -> None:
    layer = getattr(nn, f"{cls.__name__}Cell")(4, 8) if cells else cls(4, 8, batch_first=True)
    shape = (3, 4) if cells else (3, 5, 4)
    with pytest.raises(ValueError, match="are not covered, and registering one does not help") as caught:
        foldmon.measure(Recurrent(layer), (torch.randn(shape), torch.randn(shape)))
    assert "register_activation" not in str(caught.value)


def test_without_any_the_way_out_is_to_register_one() -> None:
    with pytest.raises(ValueError, match=r"foldmon\.register_activation\(cls, thresholds\)"):
        foldmon.measure(nn.Sequential(nn.Linear(4, 3)), (torch.randn(3, 4), torch.randn(3, 4)))


def test_what_is_told_of_many_places_is_one_line() -> None:
    class Pyramid(nn.Module):
        """Heads that run on maps of other sizes each time, and some of them not by inputs."""

        def __init__(self) -> None:
            super().__init__()
            self.heads = nn.ModuleList(nn.Sequential(nn.Conv1d(1, 2, 3), nn.ReLU()) for _ in range(30))
            self.own = nn.ModuleList(nn.ReLU() for _ in range(30))

        def forward(self, x: Tensor) -> Tensor:
            for size, act in enumerate(self.own, start=1):
                x = x + act(torch.ones(size)).sum()
            return torch.cat([head(x[..., : 10 + k]).flatten(1) for k, head in enumerate(self.heads)], dim=1)

    report = foldmon.measure(Pyramid(), (torch.randn(3, 1, 50), torch.randn(3, 1, 50)), points=3)
    assert len(report.coverage.not_covered) == 30
    assert len(str(report.coverage).splitlines()) <= 3
    assert "own.0, own.1, own.2, own.3, own.4, own.5, ... (30 places): no dimension" in str(report.coverage)
