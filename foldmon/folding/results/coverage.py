"""Which activation calls a measurement covers, and which it saw and does not measure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from foldmon.folding.data.values import ByContent

_SHOWN = 6  # places that are named
_SHAPE = re.compile(r"\(\d[\d, ]*\)")


@dataclass(frozen=True, eq=False)
class Coverage(ByContent):
    """What of a model is measured.

    Attributes:
        sites: units of each covered activation call, by site name, in order of execution.
        not_covered: activation layers seen and not measured, with the reason, by place.
        kinks: functions that bend or select outside activation layers (``max``, ``clamp``, ``x > 0``,
            max-pooling, ...), by place: no unit of their own is counted there.
        notes: whatever else a reader of the numbers should know.
    """

    sites: Mapping[str, int]
    not_covered: Mapping[str, str]
    kinks: Mapping[str, str]
    notes: tuple[str, ...] = ()

    @property
    def units(self) -> int:
        """Number of units of all covered sites."""
        return sum(self.sites.values())

    def with_notes(self, *notes: str) -> Coverage:
        """The same with more notes; those that it has already are not repeated."""
        return replace(self, notes=tuple(dict.fromkeys((*self.notes, *notes))))

    def __str__(self) -> str:
        calls = "1 activation site" if len(self.sites) == 1 else f"{len(self.sites)} activation sites"
        lines = [f"covered: {calls}, {self.units:,} units"]
        lines += [f"not covered: {text}" for text in by_reason(self.not_covered.items())]
        if self.kinks:
            lines.append(f"kinks without units of their own ({len(self.kinks)}): {_listed(list(self.kinks))}")
        lines += [f"note: {note}" for note in self.grouped_notes]
        return "\n".join(lines)

    @property
    def grouped_notes(self) -> tuple[str, ...]:
        """The notes, those that tell the same of several places as one.

        Example:
            >>> from foldmon.folding.results.coverage import Coverage
            >>> Coverage({"a": 1, "b.1": 2}, {}, {}, ("a met NaN", "it draws", "b.1 met NaN")).grouped_notes
            ('a, b.1 (2 places) met NaN', 'it draws')
        """
        known = {*self.sites, *self.not_covered}
        parted = [(note.partition(" "), note) for note in self.notes]
        # Sites that are not known to be any are paths all the same.
        ours = [
            (place, rest) if place in known or _is_path(place) else ("", note)
            for (place, _, rest), note in parted
        ]
        return tuple(by_reason(ours, " "))


def by_reason(told: Iterable[tuple[str, str]], joint: str = ": ") -> list[str]:
    """One line for each reason, with the places that it is told of; reasons may differ in the shapes they
    name.

    Args:
        told: places and reasons; the place is empty where a reason names none.
        joint: between places and reason.
    """
    groups: dict[str, dict[str, str]] = {}
    for place, why in told:
        groups.setdefault(_SHAPE.sub("(...)", why), {})[place] = why
    lines = []
    for general, reasons in groups.items():
        same = set(reasons.values())
        why = same.pop() if len(same) == 1 else general
        lines.append(why if list(reasons) == [""] else f"{_counted(list(reasons))}{joint}{why}")
    return lines


def _counted(places: list[str]) -> str:
    return places[0] if len(places) == 1 else f"{_listed(places)} ({len(places)} places)"


def _listed(places: list[str]) -> str:
    return ", ".join(places[:_SHOWN]) + (", ..." if len(places) > _SHOWN else "")


def _is_path(word: str) -> bool:
    return any(sign in word for sign in "./:") and not word.endswith((".", ":"))
