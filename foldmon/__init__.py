"""foldmon: live folding of every activation layer of a PyTorch model in training."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from foldmon import config as config
    from foldmon.exporters.console import ConsoleExporter
    from foldmon.exporters.mlflow import MLflowExporter
    from foldmon.exporters.tensorboard import TensorBoardExporter
    from foldmon.exporters.wandb import WandbExporter
    from foldmon.folding.data.pairs import Pairs, draw_pairs
    from foldmon.folding.measuring import measure
    from foldmon.folding.results.coverage import Coverage
    from foldmon.folding.results.decision import DecisionFolding
    from foldmon.folding.results.report import FoldingReport
    from foldmon.folding.symbols.registry import SELECTED_INDEX, register_activation
    from foldmon.journal.writing import JSONLExporter
    from foldmon.monitor.protocol import Monitor
    from foldmon.regularize.regularizer import FoldingRegularizer
    from foldmon.warning.detector import FoldingWarning
    from foldmon.watching import watch

# Looked up at first use: importing foldmon costs next to nothing, and TensorBoard, which imports the package
# for its tab, starts whatever else is broken.
_HOMES = {
    "SELECTED_INDEX": "folding.symbols.registry",
    "ConsoleExporter": "exporters.console",
    "Coverage": "folding.results.coverage",
    "DecisionFolding": "folding.results.decision",
    "FoldingRegularizer": "regularize.regularizer",
    "FoldingReport": "folding.results.report",
    "FoldingWarning": "warning.detector",
    "JSONLExporter": "journal.writing",
    "MLflowExporter": "exporters.mlflow",
    "Monitor": "monitor.protocol",
    "Pairs": "folding.data.pairs",
    "TensorBoardExporter": "exporters.tensorboard",
    "WandbExporter": "exporters.wandb",
    "draw_pairs": "folding.data.pairs",
    "measure": "folding.measuring",
    "register_activation": "folding.symbols.registry",
    "watch": "watching",
}

__all__ = [
    "SELECTED_INDEX",
    "ConsoleExporter",
    "Coverage",
    "DecisionFolding",
    "FoldingRegularizer",
    "FoldingReport",
    "FoldingWarning",
    "JSONLExporter",
    "MLflowExporter",
    "Monitor",
    "Pairs",
    "TensorBoardExporter",
    "WandbExporter",
    "draw_pairs",
    "measure",
    "register_activation",
    "watch",
]


def __getattr__(name: str) -> Any:
    if name == "config":
        return import_module("foldmon.config")
    if name not in _HOMES:
        raise AttributeError(f"module 'foldmon' has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(f"foldmon.{_HOMES[name]}"), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
