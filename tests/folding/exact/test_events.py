"""Folding from events against walking the code step by step."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest

from foldmon.folding.exact.events import Events, distances


def walk_slowly(events: Events, paths: int, sites: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Symbols as a dict, moments one after the other."""
    r1, r2, cumulative = (np.zeros((paths, sites), dtype=int) for _ in range(3))
    for path in range(paths):
        symbols: dict[tuple[int, int], int] = defaultdict(int)
        moments = sorted({float(t) for t in events.t[events.path == path]})
        for moment in moments:
            before = dict(symbols)
            for e in np.flatnonzero((events.path == path) & (events.t == moment)):
                symbols[int(events.site[e]), int(events.unit[e])] += int(events.step[e])
            away = np.zeros(sites, dtype=int)
            for (site, unit), symbol in symbols.items():
                r2[path, site] += symbol != before.get((site, unit), 0)
                away[site] += symbol != 0
            r1[path] = np.maximum(r1[path], away)
            cumulative[path] = np.maximum(cumulative[path], away.cumsum())
    return r1, r2, cumulative


def random_events(seed: int, count: int, moments: int) -> Events:
    g = np.random.default_rng(seed)
    paths, sites, units = 3, 4, 5
    return Events(
        path=g.integers(paths, size=count),
        t=g.integers(moments, size=count) / moments,
        site=g.integers(sites, size=count),
        unit=g.integers(units, size=count),
        step=g.choice([-1, 1], size=count),
    )


@pytest.mark.parametrize("moments", [5, 40, 10**9])
@pytest.mark.parametrize("seed", range(5))
def test_equals_a_walk_step_by_step(seed: int, moments: int) -> None:
    events = random_events(seed, count=120, moments=moments)
    found = distances(events, paths=3, sites=4)
    for got, expected in zip(
        (found.r1, found.r2, found.r1_cumulative), walk_slowly(events, 3, 4), strict=True
    ):
        np.testing.assert_array_equal(got, expected)


def events_of(*rows: tuple[float, int, int, int]) -> Events:
    """Events (t, site, unit, step) of one path."""
    t, site, unit, step = (np.array(column) for column in zip(*rows, strict=True))
    return Events(np.zeros(len(t), dtype=np.int64), t, site, unit, step)


def test_no_events_no_folding() -> None:
    found = distances(Events.joined([]), paths=2, sites=3)
    assert found.r1.shape == (2, 3)
    assert not found.r1.any()
    assert not found.r2.any()


def test_two_units_crossing_at_once_make_no_code_in_between() -> None:
    """One unit leaves its symbol in the moment in which another comes back."""
    found = distances(events_of((0.2, 0, 0, 1), (0.5, 0, 0, -1), (0.5, 0, 1, 1)), 1, 1)
    assert (found.r1.item(), found.r2.item()) == (1, 3)


def test_a_touch_is_no_change() -> None:
    found = distances(events_of((0.5, 0, 0, -1), (0.5, 0, 0, 1)), 1, 1)
    assert (found.r1.item(), found.r2.item()) == (0, 0)


def test_a_jump_over_two_thresholds_is_one_change() -> None:
    found = distances(events_of((0.5, 0, 0, 1), (0.5, 0, 0, 1)), 1, 1)
    assert (found.r1.item(), found.r2.item()) == (1, 1)


def test_passing_two_thresholds_one_after_the_other_is_two_changes() -> None:
    found = distances(events_of((0.4, 0, 0, 1), (0.5, 0, 0, 1)), 1, 1)
    assert (found.r1.item(), found.r2.item()) == (1, 2)


def test_ties_are_found_within_the_tolerance() -> None:
    rows = ((0.5, 0, 0, 1), (0.5 + 1e-9, 0, 0, -1))
    assert distances(events_of(*rows), 1, 1).r2.item() == 2
    assert distances(events_of(*rows), 1, 1, tie=1e-8).r2.item() == 0


def test_joined_units_are_walked_together() -> None:
    """Two layers that fold each on its own side: the joined r1 is not the sum of theirs."""
    found = distances(events_of((0.1, 0, 0, 1), (0.3, 0, 0, -1), (0.6, 1, 0, 1)), 1, 2)
    assert found.r1.tolist() == [[1, 1]]
    assert found.r1_cumulative.tolist() == [[1, 1]]
    assert found.r2.tolist() == [[2, 1]]
