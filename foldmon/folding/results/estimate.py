"""What a probe of a share of the pairs tells of the whole panel."""

from __future__ import annotations

from dataclasses import dataclass

from foldmon.folding.data.values import ByContent
from foldmon.folding.results.statistics import Floats


@dataclass(frozen=True, eq=False)
class PanelEstimate(ByContent):
    """The composite estimate of a rotating panel, see :class:`foldmon.folding.results.panel.Panel`.

    Attributes:
        pairs: of the whole panel, P.
        folding: shape (L,), mean folding of each layer.
        profile: shape (L,), mean cumulative folding; the last one is phi.
        phi_interval: 95% interval of phi.
        latest: latest network folding of every pair that has had a turn.
        class_matrix: shape (C, C), mean of these by pair of classes, NaN where none; None without labels.
    """

    pairs: int
    folding: Floats
    profile: Floats
    phi_interval: tuple[float, float]
    latest: Floats
    class_matrix: Floats | None
