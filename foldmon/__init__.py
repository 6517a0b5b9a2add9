"""foldmon: live folding of every activation layer of a PyTorch model in training."""

from foldmon.measure import (
    SELECTED_INDEX,
    FoldingReport,
    Pairs,
    draw_pairs,
    measure,
    register_activation,
)

__all__ = [
    "SELECTED_INDEX",
    "FoldingReport",
    "Pairs",
    "draw_pairs",
    "measure",
    "register_activation",
]
