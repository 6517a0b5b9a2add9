"""Folding at fewer points than wished, and what the points between them would have shown.

Sampling misses a unit that changes its symbol and returns within one gap. Halving the gaps finds a part of
what was missed, and the next halving finds a part of that: a quarter where pre-activations are curved, since
what is missed falls as the square of the gap, a half where they are straight in pieces, since it falls as the
gap. A walk shows which, for it holds coarser ones: at every second of its points, and at every fourth
(Richardson extrapolation; Romberg 1955).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from foldmon.folding.data.values import ByContent
from foldmon.folding.results.distances import Distances
from foldmon.folding.results.statistics import Floats, UnitNumbers

STRIDES = (1, 2, 4)
"""A walk at all of its points, at every second, and at every fourth."""
FEWEST_POINTS = 9
"""With fewer, the walk at every fourth has no point between its ends but one."""
_CURVED, _STRAIGHT = 0.25, 0.5


def beyond(fine: Distances, coarse: Distances, still_missed: float) -> Distances:
    """Distances extrapolated from those at every other point, within what distances can be.

    Args:
        fine: at all points.
        coarse: at every other.
        still_missed: what finer walks would find, over what the finer of these two found.
    """

    def extrapolated(at_all: UnitNumbers, at_others: UnitNumbers) -> Floats:
        return np.asarray(at_all + still_missed * (at_all - at_others), np.float64)

    r2 = extrapolated(fine.r2, coarse.r2)
    r1 = extrapolated(fine.r1, coarse.r1)
    cumulative = extrapolated(fine.r1_cumulative, coarse.r1_cumulative)
    return Distances(np.clip(r1, 0, r2), r2, np.clip(cumulative, 0, r2.cumsum(1)))


@dataclass(frozen=True, eq=False)
class Nested(ByContent):
    """What a walk over P paths saw at fewer points than wished.

    Attributes:
        points: n, points a path.
        wished: N; N - 1 is n - 1 times a power of two.
        walks: distances at all n points, at every second and at every fourth.
        changes: of the predicted class, shape (P,) each, likewise; empty without classes.

    Example:
        >>> import numpy as np
        >>> r1, r2 = np.array([[40]]), (np.array([[92]]), np.array([[88]]), np.array([[80]]))
        >>> nested = Nested(9, 33, tuple(Distances(r1, walked, r1) for walked in r2))
        >>> nested.still_missed, nested.distances.r2.tolist()
        (0.75, [[95.0]])
    """

    points: int
    wished: int
    walks: tuple[Distances, ...]
    changes: tuple[npt.NDArray[np.int64], ...] = ()

    @property
    def still_missed(self) -> float:
        """What all further halvings would find of the units' changes, over what the last one found."""
        walked = [float(walk.r2.sum()) for walk in self.walks]
        last, before = walked[0] - walked[1], walked[1] - walked[2]
        ratio = min(max(last / before, _CURVED), _STRAIGHT) if before > 0 else _STRAIGHT
        halvings = ((self.wished - 1) // (self.points - 1)).bit_length() - 1
        return sum(ratio**halving for halving in range(1, halvings + 1))

    @property
    def distances(self) -> Distances:
        """What the wished points would show, on average over paths; no whole numbers."""
        return beyond(self.walks[0], self.walks[1], self.still_missed)

    @property
    def class_changes(self) -> Floats:
        """Shape (P,), changes of the predicted class likewise."""
        fine, coarse = self.changes[:2]
        return np.maximum(fine + self.still_missed * (fine - coarse), 0.0)

    def to_dict(self) -> dict[str, Any]:
        """What was counted, as plain JSON values."""
        parts: Sequence[str] = ("r1", "r2", "r1_cumulative")
        counted = {part: [getattr(walk, part).tolist() for walk in self.walks] for part in parts}
        changes = [changes.tolist() for changes in self.changes]
        return {"points": self.points, **counted, "changes": changes}
