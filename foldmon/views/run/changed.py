"""The layers that changed most since the first probe."""

from __future__ import annotations

from typing import NamedTuple

from foldmon.exporters.charts import shown_layers
from foldmon.views.run.rows import Row


class LayerChange(NamedTuple):
    """A layer's folding now, and by how much it differs from the first probe's."""

    name: str
    now: float
    change: float


def most_changed(rows: list[Row], limit: int) -> list[LayerChange]:
    """The layers that changed most between the first and the last row, in order of depth."""
    first, last = rows[0], rows[-1]
    before, after = ({"layers": row.layers, "folding": row.folding.tolist()} for row in (first, last))
    start, _ = first.in_order_of(last.layers)
    changes = []
    for name in shown_layers(before, after, limit):
        place = last.layers.index(name)
        now = float(last.folding[place])
        changes.append(LayerChange(name, now, now - float(start[place])))
    return changes
