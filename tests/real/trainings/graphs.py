"""Graphs: PyTorch Geometric."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.real.training import Line, Outcome, loop, training


def graph(nodes: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(nodes, 8, generator=generator)
    edges = torch.randint(nodes, (2, 4 * nodes), generator=generator)
    return x, edges, torch.arange(nodes) % 3


@training("PyG GCN on one graph", "torch_geometric")
def gcn(line: Line) -> Outcome:
    from torch_geometric.data import Data
    from torch_geometric.nn import GCNConv

    class GCN(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv1, self.conv2 = GCNConv(8, 16), GCNConv(16, 3)

        def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
            x = F.dropout(F.relu(self.conv1(x, edge_index)), training=self.training)
            return self.conv2(x, edge_index)

    x, edges, y = graph(60, 0)
    data, model = Data(x=x, edge_index=edges, y=y), GCN()
    line(model, data)
    losses = loop(model, lambda: F.cross_entropy(model(data.x, data.edge_index)[:40], data.y[:40]))
    return Outcome(model, 30, lambda: model(x, edges), losses)


@training("PyG GIN, batches of graphs", "torch_geometric")
def gin(line: Line) -> Outcome:
    from torch_geometric.data import Data
    from torch_geometric.loader import DataLoader
    from torch_geometric.nn import MLP, GINConv, global_add_pool

    class GIN(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv1, self.conv2 = GINConv(MLP([8, 16, 16])), GINConv(MLP([16, 16, 16]))
            self.out = nn.Linear(16, 2)

        def forward(self, x: Tensor, edge_index: Tensor, batch: Tensor) -> Tensor:
            x = self.conv1(x, edge_index).relu()
            x = self.conv2(x, edge_index).relu()
            return self.out(global_add_pool(x, batch))

    x, edges, _ = graph(10, 1)
    graphs = [Data(x=graph(10, seed)[0], edge_index=edges, y=torch.tensor([seed % 2])) for seed in range(96)]
    train, test = DataLoader(graphs[:48], 8, shuffle=True), DataLoader(graphs[48:], 16)
    model = GIN()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    line(model, test)
    losses = []
    for _ in range(4):
        for data in train:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(data.x, data.edge_index, data.batch), data.y)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return Outcome(model, 24, lambda: model(x, edges, torch.zeros(10, dtype=torch.long)), losses)
