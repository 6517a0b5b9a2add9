"""Graphs as held-out inputs: rows of features, with the structure that holds along every path beside them.

Graphs of one structure are joined by what is known of their nodes and edges. In a single graph the inputs are
its nodes: a path leads the features of one node to those of another while all else in the graph holds.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from foldmon.folding.data.labels import HeldOut, to_labels
from foldmon.folding.data.trees import Common

_MASKS = ("val_mask", "test_mask")
_NO_FEATURES = ("edge_index", "y", "batch", "ptr", "train_mask", *_MASKS)


def is_graph(thing: Any) -> bool:
    """Whether this is a graph, or several in one, as PyTorch Geometric has them."""
    return hasattr(thing, "edge_index") and hasattr(thing, "num_nodes") and hasattr(thing, "keys")


def is_features_and_edges(thing: Any) -> bool:
    """Whether this is ``(x, edge_index)``: features (N, F), and a column of two nodes an edge."""
    if not (isinstance(thing, tuple | list) and len(thing) == 2):
        return False
    x, edges = thing
    if not (isinstance(x, Tensor) and isinstance(edges, Tensor)):
        return False
    pairs = edges.dtype == torch.int64 and edges.ndim == 2 and len(edges) == 2 and edges.numel() > 0
    return pairs and x.ndim == 2 and x.is_floating_point() and len(x) > 2 and int(edges.max()) < len(x)


class Structure:
    """Makes one graph for the model out of rows of features, with no edge between them.

    Args:
        nodes: number of nodes n of a row.
        edges: shape (2, E), or None for clouds of points.
        like: a graph of the library's, None where the model takes ``(x, edge_index)``.
        whole: features (n, F) of all nodes by name, where a row is one node in its graph; else None.
    """

    def __init__(
        self, nodes: int, edges: Tensor | None, like: Any, whole: dict[str, Tensor] | None = None
    ) -> None:
        self.nodes, self.edges, self.like, self.whole = nodes, edges, like, whole

    def assembled(self, inputs: dict[str, Any]) -> Any:
        """What the model is called with: a batch of the library's, or (x, edge_index)."""
        columns = {name: value for name, value in inputs.items() if isinstance(value, Tensor)}
        rows = len(next(iter(columns.values())))
        device = next(iter(columns.values())).device
        if self.whole is not None:
            columns = self._with_their_graph(columns, rows)
        made: dict[str, Any] = {name: value.flatten(0, 1) for name, value in columns.items()}
        if self.edges is not None:
            edges = self.edges.to(device)
            first = torch.arange(rows, device=device).repeat_interleave(edges.shape[1]) * self.nodes
            made["edge_index"] = edges.repeat(1, rows) + first
        if self.like is None:
            return made["x"], made["edge_index"]
        made["batch"] = torch.arange(rows, device=device).repeat_interleave(self.nodes)
        made["ptr"] = torch.arange(rows + 1, device=device) * self.nodes
        return _batch(self.like, made)

    def read(self, output: Any, inputs: dict[str, Any]) -> Any:
        """Of an output for all nodes that of each row's node."""
        if self.whole is None or not isinstance(output, Tensor):
            return output
        node = inputs["node"]
        if len(output) != self.nodes * len(node):
            return output
        return output.unflatten(0, (len(node), self.nodes))[torch.arange(len(node), device=node.device), node]  # type: ignore[no-untyped-call]

    def _with_their_graph(self, columns: dict[str, Tensor], rows: int) -> dict[str, Tensor]:
        """Of each row all of its graph, in which one node has the row's features."""
        node, found = columns["node"], dict[str, Tensor]()
        place = torch.arange(rows, device=node.device)
        assert self.whole is not None
        for name, values in self.whole.items():
            like = columns.get(name, values)
            own = values.to(node.device, like.dtype)
            found[name] = own.expand(rows, *own.shape).clone()
            if name in columns:
                found[name][place, node] = columns[name]
        return found


def _batch(like: Any, made: dict[str, Any]) -> Any:
    library = sys.modules.get("torch_geometric.data")
    if library is not None and isinstance(like, library.Data):
        return library.Batch(**made)
    batch = copy.copy(like)
    for name, value in made.items():
        setattr(batch, name, value)
    return batch


def of_features_and_edges(inputs: Any, labels: Any) -> HeldOut:
    """The nodes of a graph that is given as ``(x, edge_index)``."""
    x, edges = inputs
    nodes = torch.arange(len(x), device="cpu")
    structure = Structure(len(x), edges, None, {"x": x})
    origin = "the second element" if labels is not None else ""
    held = {"x": x, "node": nodes.to(x.device), "graph": Common(structure)}
    return HeldOut(held, to_labels(labels, len(x)), origin)


def of_graphs(things: Sequence[Any]) -> HeldOut:
    """Graphs of one structure, the commonest; or the nodes of the largest, where each has a label.

    Raises:
        ValueError: no two graphs have the same structure, and their nodes have no labels.
    """
    graphs = [graph for thing in things for graph in _single(thing)]
    alike: dict[Any, list[Any]] = {}
    for graph in graphs:
        alike.setdefault(_structure(graph), []).append(graph)
    group = max(alike.values(), key=len)
    if len(group) > 1:
        return _joined(group)
    largest = max(graphs, key=lambda graph: int(graph.num_nodes))
    if len(graphs) == 1 or _has_label_a_node(largest):
        return _nodes(largest)
    raise ValueError(
        f"no two of {len(graphs)} held-out graphs have the same structure, and a line joins features on "
        "equal nodes and edges only; pass graphs of one structure, foldmon.Pairs of feature matrices with "
        "forward=, or one graph whose nodes have labels"
    )


def _single(thing: Any) -> list[Any]:
    several = hasattr(thing, "to_data_list") and getattr(thing, "ptr", None) is not None
    return list(thing.to_data_list()) if several else [thing]


def _structure(graph: Any) -> Any:
    edges = graph.edge_index
    shapes = tuple((name, graph[name].shape) for name in _columns(graph))
    return int(graph.num_nodes), shapes, None if edges is None else edges.cpu().numpy().tobytes()


def _columns(graph: Any) -> list[str]:
    """Names of what is known of each node or edge."""
    edges = 0 if graph.edge_index is None else graph.edge_index.shape[1]
    sizes = (int(graph.num_nodes), edges)
    names = list(graph.keys() if callable(graph.keys) else graph.keys)
    tensors = [n for n in names if n not in _NO_FEATURES and isinstance(graph[n], Tensor)]
    found = [name for name in tensors if graph[name].ndim and len(graph[name]) in sizes]
    if "adj_t" in names or not found:
        raise ValueError(
            "held-out graphs need features of nodes (x or pos) and edges in edge_index; sparse adjacencies "
            "(adj_t) are not read"
        )
    return found


def _joined(graphs: list[Any]) -> HeldOut:
    first = graphs[0]
    inputs: dict[str, Any] = {name: torch.stack([g[name] for g in graphs]) for name in _columns(first)}
    inputs["graph"] = Common(Structure(int(first.num_nodes), first.edge_index, first))
    labels: list[Any] = [getattr(graph, "y", None) for graph in graphs]
    known = all(isinstance(label, Tensor) and label.shape == labels[0].shape for label in labels)
    if not known:
        return HeldOut(inputs)
    values = torch.stack(labels)
    single = values.ndim > 1 and values[0].numel() == 1
    return HeldOut(inputs, values.reshape(-1) if single else values, "y")


def _has_label_a_node(graph: Any) -> bool:
    labels = getattr(graph, "y", None)
    return isinstance(labels, Tensor) and labels.ndim > 0 and len(labels) == int(graph.num_nodes)


def _nodes(graph: Any) -> HeldOut:
    """The held-out nodes of a graph."""
    count, names = int(graph.num_nodes), _columns(graph)
    rows = _held_out_nodes(graph, count)
    whole = {name: graph[name] for name in names}
    inputs: dict[str, Any] = {
        name: graph[name][rows]
        for name in names
        if len(graph[name]) == count and graph[name].is_floating_point()
    }
    inputs |= {"node": rows, "graph": Common(Structure(count, graph.edge_index, graph, whole))}
    labels = graph.y[rows] if _has_label_a_node(graph) else None
    return HeldOut(inputs, labels, "" if labels is None else "y")


def _held_out_nodes(graph: Any, count: int) -> Tensor:
    for name in _MASKS:
        mask = getattr(graph, name, None)
        if isinstance(mask, Tensor) and len(mask) == count and bool(mask.any()):
            return torch.nonzero(mask if mask.ndim == 1 else mask[:, 0]).flatten()
    seeds = getattr(graph, "batch_size", None)  # of a neighbourhood that was sampled
    return torch.arange(seeds if isinstance(seeds, int) else count, device="cpu")
