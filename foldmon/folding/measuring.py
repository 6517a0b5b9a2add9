"""``foldmon.measure``: the folding of a model, by one of three methods."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any, Literal

import torch
from torch import nn

from foldmon.folding.data.numbers import required_whole
from foldmon.folding.data.pairs import Pairs
from foldmon.folding.model.prober import Forward, Prober
from foldmon.folding.model.unwrap import require_module, unwrap
from foldmon.folding.results.heads import Classes
from foldmon.folding.results.report import FoldingReport
from foldmon.folding.results.statistics import Ints
from foldmon.folding.sampled.report import measure_sampled
from foldmon.folding.undisturbed.compiled import compiled_functions
from foldmon.folding.undisturbed.kept import kept
from foldmon.folding.undisturbed.random_state import preserved_random_state

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
    max_evaluations: int | None = None,
    tolerance: float | None = None,
    dtype: torch.dtype | None = None,
    classes: Classes = None,
) -> FoldingReport:
    """Measure the folding of every activation layer along straight lines between paired inputs.

    The model is evaluated in eval mode, without gradients and outside autocast, and is left as it was:
    its modes, weights, buffers, hooks, attributes, containers and random generators, and all global random
    states. (What hooks and other functions of yours gather elsewhere stays.)

    Args:
        model: any module with activation layers; compiled and DDP wrappers are looked through.
        pairs: P pairs of inputs, ``Pairs`` or a tuple ``(x1, x2)``, batch first, each a tensor or array,
            or a tuple or dict of them. Integer inputs (tokens) are joined in embedding space.
        method: "sampled" looks at equally spaced points. "exact" finds every symbol change of a network
            that is linear in pieces (``report.exact``: certified, within the rounding of its type); other
            networks are refined until neighbouring codes differ in at most one symbol or by 2**-12 in t,
            which may miss pairs of changes that undo each other in between. "auto" uses no more points and
            pairs than ``tolerance`` needs and ``max_evaluations`` allows: exact paths where they cost next to
            nothing, else few points, and r1 and r2 extrapolated from them, so that phi is right on average
            while a single path's are estimates; its report holds the pairs it used, and ``report.notes``
            says what was done and why it ended.
        points: n, points a path, at least 2; not used by "exact".
        layers: names or shell patterns of the layers to measure; None for all.
        at: path of the module whose output is interpolated instead of the inputs.
        forward: ``forward(model, inputs)``, for models that are called in a way of their own.
        chunk: inputs of one forward pass; None keeps the largest activation near 16 MiB on the CPU and
            256 MiB on other devices, and within four times that all that lives at once.
        max_evaluations: most inputs passed forward, for "exact" (None: no bound, else at least 2 a path;
            ``report.exact`` is False where it was reached) and "auto" (None: pairs
            times points, what sampling costs).
        tolerance: for "auto", the width of phi's 95% interval that is narrow enough; None for 0.01.
        dtype: measure a private copy of the model in this type, such as ``torch.float64``.
        classes: whether outputs are predictions of classes, or a function that gives the logits of an output,
            shape (R, C). None finds it out: from the pairs' labels, else where it is plausible.

    Returns:
        FoldingReport.

    Raises:
        ValueError: no activation layer, an unknown layer name, pairs that do not match, ``points`` < 2,
            a bound that does not pay for the ends, or "exact" for a model that only samples can measure.
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
    require_module(model)
    points = required_whole("points", points)
    chunk = None if chunk is None else required_whole("chunk", chunk)
    if max_evaluations is not None:
        max_evaluations = required_whole("max_evaluations", max_evaluations)
    _check_options(method, points, chunk, max_evaluations, tolerance, dtype)
    ends = pairs if isinstance(pairs, Pairs) else _as_pairs(pairs)
    with preserved_random_state(), kept(model, far="attributes"), compiled_functions("force_eager"):
        if dtype is not None:
            model = _copy_in(model, dtype)
        prober = Prober(
            model,
            ends,
            layers=layers,
            at=at,
            forward=forward,
            chunk=chunk,
            every_site=method != "sampled",
            classes=classes,
        )
        return measure_with(prober, method, points, max_evaluations, tolerance)


def measure_with(
    prober: Prober,
    method: Method,
    points: int,
    max_evaluations: int | None = None,
    tolerance: float | None = None,
    paths: Ints | None = None,
) -> FoldingReport:
    """:func:`measure` on a prober at hand, in any thread: it touches no global random state.

    With ``paths``, places of pairs, "sampled" measures these alone.
    """
    # Imported when asked for: a monitor samples, and importing foldmon is to cost next to nothing.
    if method == "exact":
        from foldmon.folding.exact.continuous import measure_exact

        return measure_exact(prober, max_evaluations)
    if method == "auto":
        from foldmon.folding.auto.search import measure_auto

        return measure_auto(prober, points, max_evaluations, tolerance)
    return measure_sampled(prober, points, paths)


def _check_options(
    method: str,
    points: int,
    chunk: int | None,
    max_evaluations: int | None,
    tolerance: float | None,
    dtype: torch.dtype | None,
) -> None:
    if points < 2:
        raise ValueError(f"points must be at least 2 (both ends of a path), got {points}")
    if chunk is not None and chunk < 1:
        raise ValueError(f"chunk must be at least 1 input a forward pass, got {chunk}")
    if method not in ("sampled", "exact", "auto"):
        raise ValueError(f'method must be "sampled", "exact" or "auto", got {method!r}')
    if max_evaluations is not None and (method == "sampled" or max_evaluations < 2):
        raise ValueError(
            'max_evaluations bounds method="exact" and "auto" and must be at least 2; for method="sampled" '
            f"the number of evaluations is pairs times points (got {max_evaluations}, method={method!r})"
        )
    if tolerance is not None and (method != "auto" or not tolerance > 0):
        raise ValueError(
            'tolerance is the width of phi\'s interval that method="auto" aims at and must be positive '
            f"(got {tolerance}, method={method!r})"
        )
    if dtype is not None and not dtype.is_floating_point:
        raise ValueError(f"dtype must be a floating-point type such as torch.float64, got {dtype}")


def _copy_in(model: nn.Module, dtype: torch.dtype) -> nn.Module:
    """A private copy of the model in another floating-point type."""
    try:
        return copy.deepcopy(unwrap(model)).to(dtype)
    except Exception as error:
        raise TypeError(
            f"the model cannot be copied, which dtype={dtype} needs ({error}); "
            "convert it yourself and leave dtype out"
        ) from error


def _as_pairs(pairs: Any) -> Pairs:
    if not (isinstance(pairs, tuple | list) and len(pairs) == 2):
        raise TypeError(
            "pairs must be a foldmon.Pairs or a tuple (x1, x2) of two batches of inputs, "
            f"got {type(pairs).__name__}"
        )
    return Pairs(pairs[0], pairs[1])
