"""Which exporters go where a framework's own loggers go."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from foldmon.exporters.base import Exporter


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
