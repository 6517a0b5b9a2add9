"""Which layers to chart by default: a deep model must not flood a dashboard."""

from __future__ import annotations

from collections.abc import Iterable

from foldmon.journal.plain import number
from foldmon.journal.schema import ProbeRecord, Record, is_probe

_SETTLED = 3  # probes before the layers with a chart are chosen


def shown_layers(first: Record, latest: Record, limit: int = 12) -> tuple[str, ...]:
    """The layers whose folding changed most between two probes, in order of depth.

    The aggregates (phi, its interval, decision folding) are charted beside them in any case. A layer that
    only the latest probe has counts as changed by all of its folding; a change that is not a number, as none.

    Args:
        first: the run's first probe record.
        latest: its latest.
        limit: number of layers at most.

    Example:
        >>> first = {"layers": ["a", "b", "c"], "folding": [0.0, 0.30, 0.1]}
        >>> latest = {"layers": ["a", "b", "c"], "folding": [0.0, 0.05, 0.2]}
        >>> shown_layers(first, latest, limit=2)
        ('b', 'c')
    """
    layers = list(latest["layers"])
    if len(layers) <= limit:
        return tuple(layers)
    before = dict(zip(first["layers"], first["folding"], strict=True))
    change = {
        name: abs(number(now) - number(before.get(name, 0.0)))
        for name, now in zip(layers, latest["folding"], strict=True)
    }
    # Of equal changes the deeper layer's: folding grows with depth. A change of NaN compares with nothing.
    place = {name: i for i, name in enumerate(layers)}
    ranked = sorted(
        layers,
        key=lambda name: (change[name] if change[name] == change[name] else 0.0, place[name]),
        reverse=True,
    )
    chosen = set(ranked[:limit])
    return tuple(name for name in layers if name in chosen)


class Charts:
    """Which layers of a run have a chart: chosen once, so that every curve is whole from there on.

    A model of up to ``limit`` layers has all of them from the first probe. Of a deeper one the layers that
    changed most over the journal's first probes are chosen; until then it has the aggregates only. A record
    that is shown again has the same charts again, and a resumed run, which :meth:`recall` shows the first
    probes, keeps those that it had. Layers of which none was there before (another model writes on in the
    same journal) begin anew.

    Args:
        limit: number of layers at most; None for all.

    Raises:
        ValueError: ``limit`` is negative.

    Example:
        >>> charts = Charts(limit=1)
        >>> probes = [{"seq": n, "layers": ["a", "b"], "folding": [0.1 * n, 0.0]} for n in range(4)]
        >>> [charts.of(probe) for probe in probes], charts.of(probes[0])
        ([(), (), (), ('a',)], ())
    """

    def __init__(self, limit: int | None = 12) -> None:
        if limit is not None and limit < 0:
            raise ValueError(f"layers must be a number of charts, or None for all, got {limit}")
        self.limit = limit
        self._first: list[ProbeRecord] = []  # until the layers are chosen, then the last of them decides
        self._chosen: tuple[str, ...] = ()

    def of(self, record: ProbeRecord) -> tuple[str, ...]:
        """The layers of this probe that have a chart; probes are shown in the journal's order, or again."""
        layers = tuple(record["layers"])
        if self.limit is None or len(layers) <= self.limit:
            return layers
        self._look(record, self.limit)
        return self._chosen if self._settled and record["seq"] >= self._first[-1]["seq"] else ()

    def recall(self, earlier: Iterable[Record]) -> None:
        """Look at the journal's first records, as far as they decide."""
        for record in filter(is_probe, earlier):
            if self.of(record) or self._settled:
                break

    @property
    def _settled(self) -> bool:
        return len(self._first) > _SETTLED

    def _look(self, record: ProbeRecord, limit: int) -> None:
        if self._first and set(record["layers"]).isdisjoint(self._first[-1]["layers"]):
            self._first = []
        if not self._settled and (not self._first or record["seq"] > self._first[-1]["seq"]):
            self._first.append(record)
            self._chosen = shown_layers(self._first[0], record, limit)
