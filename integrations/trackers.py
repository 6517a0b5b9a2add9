"""Which exporters go where a framework's own loggers go."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from foldmon.exporters.base import Exporter
from foldmon.exporters.mlflow import MLflowExporter, active_run_exists


def exporters_or_usual(
    trackers: Iterable[Any], makers: Mapping[str, Callable[[Any], Exporter]]
) -> list[Exporter | str]:
    """Those of the trackers, TensorBoard without any; the console; and MLflow where a run is active.

    A run may be active that no tracker knows of: MLflow's autologging begins one around the training.
    """
    found: list[Exporter | str] = [*exporters_for(trackers, makers)]
    named = any(isinstance(exporter, MLflowExporter) for exporter in found)
    active = ["mlflow"] if active_run_exists() and not named else []
    return [*(found or ["tensorboard"]), *active, "console"]


def exporters_for(trackers: Iterable[Any], makers: Mapping[str, Callable[[Any], Exporter]]) -> list[Exporter]:
    """An exporter for each tracker whose class is known, by the names of the class and its bases.

    Args:
        trackers: loggers or trackers of a framework.
        makers: class name to what makes an exporter of the tracker.

    Example:
        >>> from foldmon import TensorBoardExporter
        >>> class TensorBoardTracker:
        ...     logging_dir = "runs"
        >>> found = exporters_for(
        ...     [TensorBoardTracker(), None],
        ...     {"TensorBoardTracker": lambda tracker: TensorBoardExporter(tracker.logging_dir)})
        >>> [exporter.name for exporter in found]
        ['tensorboard']
    """
    found = []
    for tracker in trackers:
        names = (base.__name__ for base in type(tracker).__mro__)
        make = next((makers[name] for name in names if name in makers), None)
        if make is not None:
            found.append(make(tracker))
    return found
