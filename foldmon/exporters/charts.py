"""Which layers to chart by default: a deep model must not flood a dashboard."""

from __future__ import annotations

from collections.abc import Sequence

from foldmon.journal.schema import Record

_SETTLED = 3  # probes before the layers with a chart are chosen


def shown_layers(first: Record, latest: Record, limit: int = 12, keep: Sequence[str] = ()) -> tuple[str, ...]:
    """The layers whose folding changed most between two probes, in order of depth.

    The aggregates (phi, its interval, decision folding) are charted beside them in any case. A layer that
    only the latest probe has counts as changed by all of its folding; a change that is not a number, as none.

    Args:
        first: the run's first probe record.
        latest: its latest.
        limit: number of layers at most.
        keep: layers that have a chart already and keep it; only what ``limit`` leaves is chosen anew.

    Example:
        >>> first = {"layers": ["a", "b", "c"], "folding": [0.0, 0.30, 0.1]}
        >>> latest = {"layers": ["a", "b", "c"], "folding": [0.0, 0.05, 0.2]}
        >>> shown_layers(first, latest, limit=2)
        ('b', 'c')
        >>> shown_layers(first, latest, limit=2, keep=["a"])
        ('a', 'b')
    """
    layers = list(latest["layers"])
    if len(layers) <= limit:
        return tuple(layers)
    before = dict(zip(first["layers"], first["folding"], strict=True))
    change = {
        name: abs(now - before.get(name, 0.0)) for name, now in zip(layers, latest["folding"], strict=True)
    }
    kept = [name for name in layers if name in set(keep)][:limit]
    # Of equal changes the deeper layer's: folding grows with depth. A change of NaN compares with nothing.
    place = {name: i for i, name in enumerate(layers)}
    others = sorted(
        (name for name in layers if name not in kept),
        key=lambda name: (change[name] if change[name] == change[name] else 0.0, place[name]),
        reverse=True,
    )
    chosen = {*kept, *others[: limit - len(kept)]}
    return tuple(name for name in layers if name in chosen)


class Charts:
    """Which layers of a run have a chart: chosen once, so that every curve is whole from there on.

    A model of up to ``limit`` layers has all of them from the first probe. Of a deeper one the layers that
    changed most over the first probes are chosen; until then it has the aggregates only.

    Args:
        limit: number of layers at most; None for all.

    Raises:
        ValueError: ``limit`` is negative.

    Example:
        >>> charts = Charts(limit=1)
        >>> [charts.of({"layers": ["a", "b"], "folding": [0.1 * n, 0.0]}) for n in range(4)]
        [(), (), (), ('a',)]
    """

    def __init__(self, limit: int | None = 12) -> None:
        if limit is not None and limit < 0:
            raise ValueError(f"layers must be a number of charts, or None for all, got {limit}")
        self.limit = limit
        self._first: Record | None = None
        self._seen = 0
        self._chosen: tuple[str, ...] | None = None

    def of(self, record: Record) -> tuple[str, ...]:
        """The layers of this probe that have a chart; probes are shown in order."""
        layers = tuple(record["layers"])
        if self.limit is None or len(layers) <= self.limit:
            return layers
        self._first = self._first or record
        self._seen += 1
        if self._chosen is None and self._seen > _SETTLED:
            self._chosen = shown_layers(self._first, record, self.limit)
        return self._chosen or ()
