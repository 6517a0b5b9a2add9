"""Decision folding: how the predicted class changes along a path."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from foldmon.measure.statistics import Floats, Ints


@dataclass(frozen=True)
class DecisionFolding:
    """Changes of the predicted class along each path; it needs no labels.

    Attributes:
        changes: shape (P,), number of changes from point to point.
        elsewhere: shape (P,), share of the path's length in a class that is neither end's.
        ends: shape (P, 2), predicted class at the start and at the end.
        confidence: shape (P, 2), probability of that class, NaN where the ends were not evaluated.
        entropy: shape (P, 2), entropy of the predicted probabilities in nats, likewise.
    """

    changes: npt.NDArray[np.int64]
    elsewhere: npt.NDArray[np.float64]
    ends: npt.NDArray[np.int64]
    confidence: npt.NDArray[np.float64]
    entropy: npt.NDArray[np.float64]

    @property
    def mean_changes(self) -> float:
        """Mean number of class changes a path."""
        return float(self.changes.mean())

    @property
    def mean_elsewhere(self) -> float:
        """Mean share of a path in a class that is neither end's."""
        return float(self.elsewhere.mean())


def decision_folding(
    classes: npt.NDArray[np.int64],
    weights: npt.NDArray[np.float64] | None = None,
    certainty: npt.NDArray[np.float64] | None = None,
) -> DecisionFolding:
    """Decision folding of paths whose predicted classes are known at points in order.

    Args:
        classes: shape (P, n), predicted class at each point.
        weights: shape (P, n), share of the path that each point stands for; None takes the points as
            equally spaced with the ends standing for half a step.
        certainty: shape (P, 2, 2), :func:`certainty` at the start and at the end of each path.

    Example:
        >>> import numpy as np
        >>> from foldmon.measure.decision import decision_folding
        >>> folding = decision_folding(np.array([[0, 2, 2, 1, 1]]))
        >>> folding.changes.tolist(), folding.elsewhere.tolist()
        ([2], [0.5])
    """
    if weights is None:
        weights = np.full(classes.shape, 1.0 / (classes.shape[1] - 1))
        weights[:, [0, -1]] /= 2
    if certainty is None:
        certainty = np.full((len(classes), 2, 2), np.nan)
    start, end = classes[:, :1], classes[:, -1:]
    elsewhere = ((classes != start) & (classes != end)) * weights
    return DecisionFolding(
        changes=(classes[:, 1:] != classes[:, :-1]).sum(1),
        elsewhere=elsewhere.sum(1),
        ends=np.concatenate([start, end], axis=1),
        confidence=certainty[..., 0],
        entropy=certainty[..., 1],
    )


def ordered_classes(classes: list[tuple[Ints, Floats, Ints]], paths: int) -> tuple[Ints, Floats]:
    """Classes at the points of each path in order, and the share of the path each point stands for.

    Args:
        classes: parts (path, t, class), each of shape (R,), in any order.
        paths: P.

    Returns:
        Classes and weights, both of shape (P, n): n points of the path with most, the others filled up
        with their last class and weight 0. Paths without points are class 0 throughout.
    """
    path, t, label = (np.concatenate(column) for column in zip(*classes, strict=True))
    order = np.lexsort((t, path))
    path, t, label = path[order], t[order], label[order]
    sizes: Ints = np.bincount(path, minlength=paths)
    last = np.cumsum(sizes) - 1
    rank = np.arange(len(path)) - np.repeat(last + 1 - sizes, sizes)
    shape = (paths, int(sizes.max()))
    at = np.ones(shape)
    at[path, rank] = t
    out: Ints = np.repeat(np.where(sizes > 0, label[last], 0)[:, None], shape[1], axis=1)
    out[path, rank] = label
    half_gaps = np.diff(at, axis=1) / 2
    weights: Floats = np.zeros(shape)
    weights[:, 1:] += half_gaps
    weights[:, :-1] += half_gaps
    return out, weights


def predicted_class(output: Any, rows: int) -> Tensor | None:
    """Class of each row from a model's output, or None where the output gives no class.

    A tensor, the entry "logits" of a mapping or of an object, or the first tensor of a tuple is read as
    logits: (R, C) by argmax, (R, 1) and (R,) by sign, (R, T, C) named "logits" at the last position T.
    """
    logits = class_logits(output, rows)
    return None if logits is None else logits.argmax(1)


def class_logits(output: Any, rows: int) -> Tensor | None:
    """Logits of shape (R, C), read as in :func:`predicted_class`; a single logit gets 0 as its rival."""
    logits, named = _logits(output)
    if logits is None or not logits.is_floating_point() or logits.shape[:1] != (rows,):
        return None
    if logits.ndim == 3 and named:
        logits = logits[:, -1]
    if logits.ndim == 1 or (logits.ndim == 2 and logits.shape[1] == 1):
        single = logits.reshape(-1, 1)
        return torch.cat([torch.zeros_like(single), single], dim=1)
    return logits if logits.ndim == 2 else None


def certainty(logits: Tensor) -> Tensor:
    """Probability of the predicted class and entropy (nats) of each row's softmax, shape (R, 2).

    Example:
        >>> import torch
        >>> from foldmon.measure.decision import certainty
        >>> [round(value, 4) for value in certainty(torch.zeros(1, 4))[0].tolist()]
        [0.25, 1.3863]
    """
    share = logits.float().softmax(1)
    return torch.stack([share.amax(1), torch.special.entr(share).sum(1)], dim=1)


def _logits(output: Any) -> tuple[Tensor | None, bool]:
    """The tensor to read as logits and whether it is named so."""
    named = output.get("logits") if isinstance(output, Mapping) else getattr(output, "logits", None)
    if isinstance(named, Tensor):
        return named, True
    if isinstance(output, tuple | list) and output:
        output = output[0]
    return (output, False) if isinstance(output, Tensor) else (None, False)
