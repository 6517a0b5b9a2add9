"""Decision folding: how the predicted class changes along a path."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from foldmon.folding.data.values import ByContent
from foldmon.folding.results.statistics import Floats, Ints, UnitNumbers

LEADING = 4
"""Number of most probable classes that are kept of a prediction."""
CERTAINTY = 2 + 2 * LEADING
"""Columns of :func:`certainty`."""


@dataclass(frozen=True, eq=False)
class DecisionFolding(ByContent):
    """Changes of the predicted class along each path, and the predictions at its ends; it needs no labels.

    Attributes:
        changes: shape (P,), number of changes from point to point; no whole number where it is extrapolated.
        elsewhere: shape (P,), share of the path's length in a class that is neither end's.
        ends: shape (P, 2), predicted class at the start and at the end.
        entropy: shape (P, 2), entropy of the predicted probabilities in nats, NaN where the ends were not
            evaluated.
        leading: shape (P, 2, K), the K most probable classes, most probable first; K is 4, or the number
            of classes where that is less; -1 where the ends were not evaluated. Where several labels may be
            right at once the predicted class is the set of them, and these are single labels.
        probabilities: shape (P, 2, K), their probabilities, likewise NaN.
        of: number of classes, 0 where no end was evaluated.
        means: composite estimates of the whole panel's mean changes and mean share elsewhere, where these
            paths are a share of it; None where they are all.
    """

    changes: UnitNumbers
    elsewhere: npt.NDArray[np.float64]
    ends: npt.NDArray[np.int64]
    entropy: npt.NDArray[np.float64]
    leading: npt.NDArray[np.int64]
    probabilities: npt.NDArray[np.float64]
    of: int
    means: tuple[float, float] | None = None

    @property
    def confidence(self) -> npt.NDArray[np.float64]:
        """Shape (P, 2), probability of the predicted class, NaN where the ends were not evaluated."""
        return self.probabilities[..., 0]

    @property
    def mean_changes(self) -> float:
        """Mean number of class changes a path."""
        return float(self.changes.mean()) if self.means is None else self.means[0]

    @property
    def mean_elsewhere(self) -> float:
        """Mean share of a path in a class that is neither end's."""
        return float(self.elsewhere.mean()) if self.means is None else self.means[1]


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
        certainty: shape (P, 2, CERTAINTY), :func:`certainty` at the start and at the end of each path.

    Example:
        >>> import numpy as np
        >>> from foldmon.folding.results.decision import decision_folding
        >>> folding = decision_folding(np.array([[0, 2, 2, 1, 1]]))
        >>> folding.changes.tolist(), folding.elsewhere.tolist()
        ([2], [0.5])
    """
    if weights is None:
        weights = np.full(classes.shape, 1.0 / (classes.shape[1] - 1))
        weights[:, [0, -1]] /= 2
    if certainty is None:
        certainty = np.full((len(classes), 2, CERTAINTY), np.nan)
    start, end = classes[:, :1], classes[:, -1:]
    elsewhere = ((classes != start) & (classes != end)) * weights
    of = int(np.nan_to_num(certainty[..., 1]).max(initial=0))
    kept = min(LEADING, of) if of else LEADING
    return DecisionFolding(
        changes=(classes[:, 1:] != classes[:, :-1]).sum(1),
        elsewhere=elsewhere.sum(1),
        ends=np.concatenate([start, end], axis=1),
        entropy=certainty[..., 0],
        leading=np.nan_to_num(certainty[..., 2 : 2 + kept], nan=-1).astype(np.int64),
        probabilities=certainty[..., 2 + LEADING : 2 + LEADING + kept],
        of=of,
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


def certainty(logits: Tensor) -> Tensor:
    """How sure a prediction is, and between which classes.

    Args:
        logits: shape (R, C).

    Returns:
        Shape (R, CERTAINTY), float32: the entropy of the row's softmax in nats; C; the LEADING most
        probable classes; their probabilities. Columns of classes beyond C are NaN.

    Example:
        >>> import torch
        >>> from foldmon.folding.results.decision import certainty
        >>> [round(value, 4) for value in certainty(torch.tensor([[0.0, 1.0]]))[0, :4].tolist()]
        [0.5822, 2.0, 1.0, 0.0]
    """
    share = logits.detach().float().softmax(1)
    found = torch.full((len(share), CERTAINTY), torch.nan, device=share.device)
    found[:, 1] = share.shape[1]
    kept = min(LEADING, share.shape[1])
    found[:, 2 + LEADING : 2 + LEADING + kept], leading = share.topk(kept, dim=1)
    found[:, 2 : 2 + kept] = leading.to(found.dtype)
    found[:, 0] = torch.special.entr(share, out=share).sum(1)  # in place: it may be as large as the output
    return found


def certainty_of_labels(logits: Tensor) -> Tensor:
    """:func:`certainty` of predictions of C labels, each of which is right or not.

    Args:
        logits: shape (R, C), of single labels.

    Returns:
        Shape (R, CERTAINTY), float32: the sum of the labels' entropies; C; the LEADING most probable labels;
        their probabilities.
    """
    shares = logits.detach().float().sigmoid()
    found = torch.full((len(shares), CERTAINTY), torch.nan, device=shares.device)
    found[:, 1] = shares.shape[1]
    kept = min(LEADING, shares.shape[1])
    found[:, 2 + LEADING : 2 + LEADING + kept], leading = shares.topk(kept, dim=1)
    found[:, 2 : 2 + kept] = leading.to(found.dtype)
    found[:, 0] = (torch.special.entr(shares) + torch.special.entr(1 - shares)).sum(1)
    return found
