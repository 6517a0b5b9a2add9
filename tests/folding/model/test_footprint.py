"""What lives at once in a forward pass, and how many rows of it go into one."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from foldmon import Pairs
from foldmon.folding.model.footprint import Footprint
from foldmon.folding.model.prober import Prober

TARGET = 16 * 2**20


def test_a_chain_needs_an_input_and_an_output_at_a_time() -> None:
    net = nn.Sequential(nn.Linear(10, 1000), nn.ReLU(), nn.Linear(1000, 10))
    with Footprint(net.parameters()) as footprint, torch.no_grad():
        net(torch.zeros(5, 10))
    assert footprint.peak == 4 * 5 * (10 + 1000 + 1000)


def test_a_view_is_no_memory_of_its_own_and_keeps_what_it_looks_at() -> None:
    with Footprint() as footprint:
        x = torch.zeros(100)
        view = x[50:]
        del x
        assert footprint.peak == 400
        y = torch.zeros(25)
    assert len(view) + len(y) == 75
    assert footprint.peak == 500


def test_what_cannot_be_weighed_does_no_harm() -> None:
    with Footprint() as footprint:
        torch.vmap(lambda row: row + 1)(torch.zeros(2, 50))
        torch.eye(3).to_sparse()
    assert footprint.peak >= 400


def prober_of(net: nn.Module, width: int = 4) -> Prober:
    return Prober(net.eval(), Pairs(torch.randn(2, 5, width)[0], torch.randn(2, 5, width)[1]))


def test_ordinary_networks_are_measured_by_their_largest_activation() -> None:
    layers = [layer for _ in range(3) for layer in (nn.Linear(64, 64), nn.ReLU())]
    assert prober_of(nn.Sequential(*layers), 64).rows_at_once == TARGET // (4 * 64)


class Outputs(nn.Module):
    """Puts out more than passes through any activation layer."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.wide = nn.Linear(4, 8), nn.Linear(8, 1000)

    def forward(self, x: Tensor) -> dict[str, object]:
        h = torch.relu(self.hidden(x))
        return {"logits": h, "others": [self.wide(h).double(), (self.wide(h), self.wide(h))]}


def test_all_that_lives_at_once_stays_within_four_times_the_target() -> None:
    at_once = prober_of(Outputs()).rows_at_once
    needed = 4 * 4 * 1000  # a row's: in float64 as two, and two more
    assert 0.9 * 4 * TARGET < at_once * needed <= 4 * TARGET


def test_weights_and_what_is_made_of_them_do_not_count() -> None:
    class Halved(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.large = nn.Linear(4, 100_000)
            self.small = nn.Parameter(torch.randn(8, 4))

        def forward(self, x: Tensor) -> Tensor:
            made = (self.large.weight / 2)[:8]
            return torch.relu(x @ (made + self.small).T)

    assert prober_of(Halved()).rows_at_once > TARGET // 1000
