"""Which activation calls a measurement covers, and which it saw and does not measure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from foldmon.folding.data.values import ByContent


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
        lines += [f"not covered: {place}: {why}" for place, why in self.not_covered.items()]
        if self.kinks:
            places = ", ".join(list(self.kinks)[:6]) + (", ..." if len(self.kinks) > 6 else "")
            lines.append(f"kinks without units of their own ({len(self.kinks)}): {places}")
        lines += [f"note: {note}" for note in self.notes]
        return "\n".join(lines)
