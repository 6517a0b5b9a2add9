"""Graphs: features are joined, and edges hold along every path."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import foldmon
from foldmon.folding.data.drawing import draw_panel


class Graph:
    """What of a graph of PyTorch Geometric is used."""

    def __init__(self, **parts: Any) -> None:
        vars(self).update({"edge_index": None, **parts})

    @property
    def num_nodes(self) -> int:
        return len(self["x"])

    def keys(self) -> list[str]:
        return [name for name, value in vars(self).items() if value is not None]

    def __contains__(self, name: str) -> bool:
        return name in vars(self)

    def __getitem__(self, name: str) -> Any:
        return vars(self)[name]


class Sum(nn.Module):
    """Adds up what the neighbours have."""

    def __init__(self, wide: int, out: int) -> None:
        super().__init__()
        self.own = nn.Linear(wide, out)

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        h: Tensor = self.own(x)
        return h.index_add(0, edges[1], h[edges[0]])


class Nodes(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = Sum(6, 12), Sum(12, 12), Sum(12, 3)
        self.act, self.act2 = nn.ReLU(), nn.ReLU()

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        x = self.act(self.first(x, edge_index))
        out: Tensor = self.last(self.act2(self.second(x, edge_index)), edge_index)
        return out


class OneGraph(Nodes):
    def forward(self, data: Any) -> Tensor:  # type: ignore[override]
        return super().forward(data.x, data.edge_index)


class Whole(Nodes):
    def forward(self, x: Tensor, edge_index: Tensor, batch: Tensor) -> Tensor:  # type: ignore[override]
        each = super().forward(x, edge_index)
        return torch.zeros(int(batch.max()) + 1, 3).index_add(0, batch, each)


NUMBERS = torch.Generator().manual_seed(0)
X, EDGES = torch.randn(30, 6, generator=NUMBERS), torch.randint(30, (2, 70), generator=NUMBERS)
Y, HELD_OUT = torch.arange(30) % 3, torch.arange(30) >= 10
FULL = Graph(x=X, edge_index=EDGES, y=Y, val_mask=HELD_OUT)
RING = torch.stack([torch.arange(5), (torch.arange(5) + 1) % 5])
RINGS = [
    Graph(x=torch.randn(5, 6, generator=NUMBERS), edge_index=RING, y=torch.tensor([i % 3])) for i in range(24)
]


def folding(net: Nodes, walk: list[Tensor], edges: Tensor) -> tuple[int, int]:
    """r1 and r2 of a path, from the features at its points."""
    codes = []
    for x in walk:
        first = net.first(x, edges)
        second = net.second(first.relu(), edges)
        codes.append(torch.cat([(first > 0).flatten(), (second > 0).flatten()]))
    steps = [int((a != b).sum()) for a, b in pairwise(codes)]
    return max(int((code != codes[0]).sum()) for code in codes), sum(steps)


def network(report: foldmon.FoldingReport) -> list[tuple[int, int]]:
    """r1 and r2 of each path."""
    return list(zip(report.r1_cumulative[:, -1], report.r2_cumulative[:, -1], strict=True))


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize(
    ("model", "data"),
    [
        (Nodes(), FULL),
        (OneGraph(), FULL),
        (Nodes(), ((X, EDGES), Y)),
        (Nodes(), (X, EDGES)),
        (Nodes(), [FULL]),
    ],
)
def test_in_one_graph_a_node_takes_on_the_features_of_another(model: Nodes, data: Any) -> None:
    pairs = draw_panel(data, 12)[0]
    report = foldmon.measure(model, pairs, points=9)
    for path in range(12):
        i, j = int(pairs.first["node"][path]), int(pairs.second["node"][path])
        assert torch.equal(pairs.first["x"][path], X[i])
        assert data is not FULL or (HELD_OUT[i] and HELD_OUT[j])
        walk = []
        for t in torch.linspace(0, 1, 9):
            x = X.clone()
            x[i] = torch.lerp(X[i], X[j], t)
            walk.append(x)
        with torch.no_grad():
            assert (report.r1_cumulative[path, -1], report.r2_cumulative[path, -1]) == folding(
                model, walk, EDGES
            )


@pytest.mark.parametrize("model", [Nodes(), OneGraph()])
def test_a_nodes_prediction_is_that_of_the_full_graph(model: Nodes) -> None:
    with foldmon.watch(model, FULL, exporters=[], every=1, background=False) as monitor:
        held_out = monitor.probe().held_out
    assert held_out is not None
    with torch.no_grad():
        right = (Nodes.forward(model, X, EDGES).argmax(1) == Y)[HELD_OUT]
    assert held_out.accuracy is not None
    assert len(right) == held_out.inputs
    assert held_out.accuracy == pytest.approx(right.double().mean().item())
    assert "3 classes from y" in str(monitor.coverage)


def test_graphs_of_one_structure_are_joined_with_their_edges_held() -> None:
    other = Graph(x=torch.zeros(4, 6), edge_index=RING[:, :3], y=torch.tensor([0]))
    pairs, held_out = draw_panel([*RINGS, other], 12)
    assert len(held_out) == 24
    model = Whole()
    report = foldmon.measure(model, pairs, points=9)
    for path in range(12):
        first, second = pairs.first["x"][path], pairs.second["x"][path]
        walk = [torch.lerp(first, second, t) for t in torch.linspace(0, 1, 9)]
        with torch.no_grad():
            assert (report.r1_cumulative[path, -1], report.r2_cumulative[path, -1]) == folding(
                model, walk, RING
            )
    assert report.decision is not None
    assert pairs.classes is not None
    np.testing.assert_array_equal(np.sort(np.unique(pairs.classes)), [0, 1, 2])


def test_graphs_of_which_no_two_are_alike() -> None:
    graphs = [Graph(x=torch.zeros(5 + i, 6), edge_index=RING, y=torch.tensor([i])) for i in range(4)]
    with pytest.raises(ValueError, match="no two of 4 held-out graphs have the same structure"):
        draw_panel(graphs)


def test_of_graphs_with_a_label_a_node_the_largest_is_followed() -> None:
    graphs = [Graph(x=torch.randn(5 + i, 6), edge_index=RING, y=torch.arange(5 + i) % 3) for i in range(4)]
    assert draw_panel(graphs)[1].inputs["x"].shape == (8, 6)


def test_features_of_a_graph_without_edges_are_a_cloud_of_points() -> None:
    clouds = [Graph(x=torch.randn(5, 6), y=torch.tensor(i % 2)) for i in range(9)]
    inputs = draw_panel(clouds)[1].inputs
    batch = inputs["graph"].value.assembled(inputs)
    assert batch.x.shape == (45, 6)
    assert batch.batch.tolist() == [row for row in range(9) for _ in range(5)]


@pytest.mark.parametrize("conv", ["GCNConv", "GATConv", "GINConv", "SAGEConv"])
def test_layers_and_loaders_of_pytorch_geometric(conv: str) -> None:
    library = pytest.importorskip("torch_geometric")
    from torch_geometric.data import Data
    from torch_geometric.loader import DataLoader

    def layer(wide: int, out: int) -> Any:
        kind = getattr(library.nn, conv)
        return kind(nn.Linear(wide, out)) if conv == "GINConv" else kind(wide, out)

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last, self.act = layer(6, 12), layer(12, 3), nn.ReLU()

        def forward(self, data: Any) -> Any:
            each = self.last(self.act(self.first(data.x, data.edge_index)), data.edge_index)
            return library.nn.global_mean_pool(each, data.batch) if self.pooled else each

        pooled = False

    net = Net().eval()
    full = Data(x=X, edge_index=EDGES, y=Y, val_mask=HELD_OUT)
    with foldmon.watch(net, full, exporters=[], every=1, background=False) as monitor:
        held_out = monitor.probe().held_out
    with torch.no_grad():
        right = (net(full).argmax(1) == Y)[HELD_OUT]
    assert held_out is not None
    assert held_out.accuracy == pytest.approx(right.double().mean().item())
    net.pooled = True
    rings = [Data(x=graph.x, edge_index=RING, y=graph.y) for graph in RINGS]
    with foldmon.watch(net, DataLoader(rings, 8), exporters=[], every=1, background=False) as monitor:
        held_out = monitor.probe().held_out
    with torch.no_grad():
        right = torch.cat([net(batch).argmax(1) == batch.y for batch in DataLoader(rings, 8)])
    assert held_out is not None
    assert held_out.accuracy == pytest.approx(right.double().mean().item())
