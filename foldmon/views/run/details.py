"""What the page shows of a single probe beyond its row."""

from __future__ import annotations

from typing import Any

from foldmon.journal.schema import Record
from foldmon.views.run.rows import finite

_KEYS = ("seq", "layers", "units", "folding", "cumulative", "dead", "saturated", "class_names", "notes")


def details(record: Record) -> dict[str, Any]:
    """The layers' numbers and the class-pair matrix of a probe, as plain JSON values without NaN.

    Example:
        >>> details({"seq": 4, "layers": ["relu"], "folding": [float("nan")]})["folding"]
        [None]
    """
    kept: dict[str, Any] = {key: [] for key in _KEYS}
    for key in _KEYS:
        value = record.get(key)
        if value is not None:
            kept[key] = [finite(item) for item in value] if isinstance(value, list) else value
    matrix = record.get("class_matrix")
    kept["class_matrix"] = matrix and [[finite(value) for value in row] for row in matrix]
    return kept
