"""foldmon: live folding of every activation layer of a PyTorch model in training."""

from typing import TYPE_CHECKING, Any

from foldmon.exporters.console import ConsoleExporter
from foldmon.exporters.journal import JSONLExporter
from foldmon.exporters.mlflow import MLflowExporter
from foldmon.exporters.tensorboard import TensorBoardExporter
from foldmon.measure import (
    SELECTED_INDEX,
    FoldingReport,
    Pairs,
    draw_pairs,
    measure,
    register_activation,
)
from foldmon.monitor import Monitor
from foldmon.watch import watch

if TYPE_CHECKING:
    from foldmon.regularize import FoldingRegularizer

__all__ = [
    "SELECTED_INDEX",
    "ConsoleExporter",
    "FoldingRegularizer",
    "FoldingReport",
    "JSONLExporter",
    "MLflowExporter",
    "Monitor",
    "Pairs",
    "TensorBoardExporter",
    "draw_pairs",
    "measure",
    "register_activation",
    "watch",
]


def __getattr__(name: str) -> Any:
    # A monitor does without the regularizer, and importing foldmon is to cost next to nothing.
    if name == "FoldingRegularizer":
        from foldmon.regularize import FoldingRegularizer

        return FoldingRegularizer
    raise AttributeError(f"module 'foldmon' has no attribute {name!r}")
