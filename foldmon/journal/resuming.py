"""The probes among a journal's records."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable
from typing import TypeVar

from foldmon.journal.schema import Record

T = TypeVar("T")


def probes_of(records: Iterable[Record]) -> list[Record]:
    """The probes, in order of their steps.

    What a resumed training measured again stands for what it repeats. A record without a kind, such as
    ``report.to_dict()``, counts as a probe.

    Example:
        >>> [probe["phi"] for probe in probes_of([
        ...     {"kind": "probe", "step": 1, "phi": 0.1}, {"kind": "probe", "step": 2, "phi": 0.2},
        ...     {"kind": "start"}, {"kind": "probe", "step": 2, "phi": 0.3}])]
        [0.1, 0.3]
    """
    probes: list[Record] = []
    for record in records:
        if record.get("kind", "probe") == "probe":
            take_back(probes, _step(record), _step)
            probes.append(record)
    return probes


def take_back(probes: list[T], step: int, step_of: Callable[[T], int]) -> bool:
    """Remove, of probes in order of their steps, those at or after a step that is measured again.

    Returns:
        Whether there was any.
    """
    left = bisect_left(probes, step, key=step_of)
    repeated = left < len(probes)
    del probes[left:]
    return repeated


def _step(probe: Record) -> int:
    step = probe.get("step")
    return int(probe.get("seq", 0) if step is None else step)
