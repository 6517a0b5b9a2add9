"""foldmon: live folding of every activation layer of a PyTorch model in training."""

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
from foldmon.regularize import FoldingRegularizer
from foldmon.watch import watch

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
