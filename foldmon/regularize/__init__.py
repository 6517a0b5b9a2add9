"""Differentiable folding as a term of the loss, and schedules of its weight."""

from foldmon.regularize.regularizer import FoldingRegularizer
from foldmon.regularize.schedules import (
    Schedule,
    constant,
    cosine,
    early,
    sparse,
    target,
)

__all__ = ["FoldingRegularizer", "Schedule", "constant", "cosine", "early", "sparse", "target"]
