"""Folding from events: the single moments at which a unit's symbol changes along a path.

The distances walked are those of the codes *between* the events, and of both ends. A code that holds at
one inner point only (two units crossing at the same t, one rising and one falling; a unit that touches a
threshold) is no piece of the path and is not counted: it would depend on rounding alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from foldmon.folding.results.distances import Distances
from foldmon.folding.results.statistics import Floats, Ints


@dataclass(frozen=True)
class Events:
    """E symbol changes.

    Attributes:
        path, site, unit: shape (E,), where.
        t: shape (E,), when, 0 at a path's start and 1 at its end.
        step: shape (E,), +1 where a threshold is passed upwards, -1 downwards.
    """

    path: Ints
    t: Floats
    site: Ints
    unit: Ints
    step: Ints

    @classmethod
    def joined(cls, parts: list[Events]) -> Events:
        """All events of several parts, in no special order."""
        columns = [
            np.concatenate([getattr(part, name) for part in parts] or [np.zeros(0, dtype)])
            for name, dtype in _COLUMNS
        ]
        return cls(*columns)

    def among(self, paths: Ints, sites: Ints, all_paths: int, all_sites: int) -> Events:
        """Events of some paths and sites only, numbered by their places among these.

        Args:
            paths: which, in the order of their new numbers.
            sites: likewise.
            all_paths: how many there are.
            all_sites: likewise.
        """
        new_path, new_site = np.full(all_paths, -1), np.full(all_sites, -1)
        new_path[paths], new_site[sites] = np.arange(len(paths)), np.arange(len(sites))
        path, site = new_path[self.path], new_site[self.site]
        kept = (path >= 0) & (site >= 0)
        return Events(path[kept], self.t[kept], site[kept], self.unit[kept], self.step[kept])

    def __len__(self) -> int:
        return len(self.t)


_COLUMNS = (("path", np.int64), ("t", np.float64), ("site", np.int64), ("unit", np.int64), ("step", np.int64))


def distances(events: Events, paths: int, sites: int, tie: float = 0.0) -> Distances:
    """Walk every path from event to event.

    Args:
        events: of all paths.
        paths: P.
        sites: L.
        tie: events of a path that lie no farther apart in t happen at once: of one unit they make one
            symbol change, or none where it returns to its symbol.

    Example:
        >>> import numpy as np
        >>> from foldmon.folding.exact.events import Events, distances
        >>> zeros = np.zeros(3, dtype=np.int64)
        >>> walk = Events(zeros, np.array([0.2, 0.4, 0.9]), zeros, np.array([0, 1, 0]), np.array([1, 1, -1]))
        >>> found = distances(walk, paths=1, sites=1)
        >>> found.r1.tolist(), found.r2.tolist()
        ([[2]], [[3]])
    """
    moment, path, site, gain = _changes(events, tie)
    shape = (paths, sites)
    r1, r2, cumulative = (np.zeros(shape, dtype=np.int64) for _ in range(3))
    np.add.at(r2, (path, site), 1)
    for place in range(sites):
        for result, kept in ((r1, site == place), (cumulative, site <= place)):
            result[:, place] = _largest(moment[kept], path[kept], gain[kept], paths)
    return Distances(r1, r2, cumulative)


def _changes(events: Events, tie: float) -> tuple[Ints, Ints, Ints, Ints]:
    """Symbol changes (moment, path, site, gain), sorted by moment.

    A moment is a number that grows with (path, t) and is common to tied events. The gain is what the
    change adds to the distance from the start: 1, 0 or -1.
    """
    order = np.lexsort((events.t, events.path))
    path, t = events.path[order], events.t[order]
    later = np.ones(len(order), dtype=bool)
    later[1:] = (path[1:] != path[:-1]) | (t[1:] - t[:-1] > tie)
    moment = np.cumsum(later)
    site, unit, step = events.site[order], events.unit[order], events.step[order]

    order = np.lexsort((moment, unit, site, path))
    moment, path, site, unit, step = (c[order] for c in (moment, path, site, unit, step))
    first = _firsts(path, site, unit, moment)
    step = np.add.reduceat(step, first) if len(first) else step
    kept = step != 0
    moment, path, site, unit = (c[first][kept] for c in (moment, path, site, unit))
    step = step[kept]

    # How far each unit's symbol is from its start, after the change and before it.
    starts = _firsts(path, site, unit)
    total = np.cumsum(step)
    lengths = np.diff(np.append(starts, len(step)))
    after = total - np.repeat((total - step)[starts], lengths)
    gain = (after != 0).astype(np.int64) - (after != step)
    order = np.argsort(moment, kind="stable")
    return moment[order], path[order], site[order], gain[order]


def _firsts(*columns: Ints) -> npt.NDArray[np.intp]:
    """First row of each run of equal rows."""
    if len(columns[0]) == 0:
        return np.zeros(0, dtype=np.intp)
    new = np.ones(len(columns[0]), dtype=bool)
    new[1:] = np.logical_or.reduce([c[1:] != c[:-1] for c in columns])
    return np.flatnonzero(new)


def _largest(moment: Ints, path: Ints, gain: Ints, paths: int) -> Ints:
    """Largest running sum of the gains on each path, over whole moments; shape (P,)."""
    largest = np.zeros(paths, dtype=np.int64)
    if len(moment) == 0:
        return largest
    first = _firsts(moment)
    path, running = path[first], np.cumsum(np.add.reduceat(gain, first))
    starts = _firsts(path)
    before = np.concatenate([[0], running])[starts]
    running = running - np.repeat(before, np.diff(np.append(starts, len(path))))
    np.maximum.at(largest, path, running)
    return largest
