"""Measuring folding: codes, hooks, pairs, paths, distances and the report. No threads, no exporters."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from torch import nn

from foldmon.measure.activations import SELECTED_INDEX, register_activation
from foldmon.measure.pairs import Pairs, draw_pairs
from foldmon.measure.prober import Forward, Prober
from foldmon.measure.random_state import preserved_random_state
from foldmon.measure.report import FoldingReport
from foldmon.measure.sampled import measure_sampled

__all__ = [
    "SELECTED_INDEX",
    "FoldingReport",
    "Pairs",
    "draw_pairs",
    "measure",
    "measure_here",
    "register_activation",
]

Method = Literal["sampled", "exact", "auto"]


def measure(
    model: nn.Module,
    pairs: Pairs | tuple[Any, Any],
    *,
    method: Method = "sampled",
    points: int = 33,
    layers: str | Iterable[str] | None = None,
    at: str | None = None,
    forward: Forward | None = None,
    chunk: int | None = None,
) -> FoldingReport:
    """Measure the folding of every activation layer along straight lines between paired inputs.

    The model is evaluated in eval mode, without gradients and outside autocast, and is left as it was:
    its modes, weights, buffers, hooks and all global random states.

    Args:
        model: any module with activation layers; compiled and DDP wrappers are looked through.
        pairs: P pairs of inputs, ``Pairs`` or a tuple ``(x1, x2)``, batch first, each a tensor or array,
            or a tuple or dict of them. Integer inputs (tokens) are joined in embedding space.
        method: "sampled" looks at equally spaced points.
        points: n, points a path, at least 2.
        layers: names or shell patterns of the layers to measure; None for all.
        at: path of the module whose output is interpolated instead of the inputs.
        forward: ``forward(model, inputs)``, for models that are called in a way of their own.
        chunk: inputs of one forward pass; None keeps the largest activation near 16 MiB on the CPU and
            256 MiB on other devices.

    Returns:
        FoldingReport.

    Raises:
        ValueError: no activation layer, an unknown layer name, pairs that do not match, ``points`` < 2.
        TypeError: ``model`` or the inputs are of a kind that cannot be measured.

    Source: "On Space Folds of ReLU Neural Networks", arXiv 2502.09954, section 3.

    Example:
        >>> import torch, foldmon
        >>> _ = torch.manual_seed(0)
        >>> net = torch.nn.Sequential(
        ...     torch.nn.Linear(2, 32), torch.nn.ReLU(), torch.nn.Linear(32, 32), torch.nn.ReLU())
        >>> report = foldmon.measure(net, (torch.randn(8, 2), torch.randn(8, 2)))
        >>> report.layers, report.chi.shape, float(report.chi[:, 0].max())
        (('1', '3'), (8, 2), 0.0)
    """
    with preserved_random_state():
        return measure_here(
            model, pairs, method=method, points=points, layers=layers, at=at, forward=forward, chunk=chunk
        )


def measure_here(
    model: nn.Module,
    pairs: Pairs | tuple[Any, Any],
    *,
    method: Method = "sampled",
    points: int = 33,
    layers: str | Iterable[str] | None = None,
    at: str | None = None,
    forward: Forward | None = None,
    chunk: int | None = None,
) -> FoldingReport:
    """:func:`measure` for threads other than the user's: it touches no global random state."""
    if points < 2:
        raise ValueError(f"points must be at least 2 (both ends of a path), got {points}")
    if chunk is not None and chunk < 1:
        raise ValueError(f"chunk must be at least 1 input a forward pass, got {chunk}")
    if method not in ("sampled", "exact", "auto"):
        raise ValueError(f'method must be "sampled", "exact" or "auto", got {method!r}')
    ends = pairs if isinstance(pairs, Pairs) else _as_pairs(pairs)
    prober = Prober(model, ends, layers=layers, at=at, forward=forward, chunk=chunk)
    return measure_sampled(prober, ends, points)


def _as_pairs(pairs: Any) -> Pairs:
    if not (isinstance(pairs, tuple | list) and len(pairs) == 2):
        raise TypeError(
            "pairs must be a foldmon.Pairs or a tuple (x1, x2) of two batches of inputs, "
            f"got {type(pairs).__name__}"
        )
    return Pairs(pairs[0], pairs[1])
