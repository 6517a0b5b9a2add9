"""Which activation calls a measurement covers, and which it saw without understanding them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from torch import nn

from foldmon.measure.activations import reader_of
from foldmon.measure.taps import Sightings

# Parameter-free modules of other libraries whose names say that they hold no activation function.
_NEUTRAL = re.compile(
    r"drop|identity|flatten|rearrange|reshape|permute|embed|rotary|pool|norm|pad|upsample|loss|"
    r"output|attention|interpolat|shuffle|scale|head|quant|observer|linear",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Coverage:
    """What of a model is measured.

    Attributes:
        sites: units of each covered activation call, by site name, in order of execution.
        not_covered: activation layers seen but not understood, with the reason, by place.
        kinks: functions that bend or select outside activation layers (``max``, ``clamp``, max-pooling,
            ...), by place: no unit of their own is counted there.
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

    def __str__(self) -> str:
        calls = "1 activation site" if len(self.sites) == 1 else f"{len(self.sites)} activation sites"
        lines = [f"covered: {calls}, {self.units:,} units"]
        lines += [f"not covered: {place}: {why}" for place, why in self.not_covered.items()]
        if self.kinks:
            places = ", ".join(list(self.kinks)[:6]) + (", ..." if len(self.kinks) > 6 else "")
            lines.append(f"bends without units of their own ({len(self.kinks)}): {places}")
        lines += [f"note: {note}" for note in self.notes]
        return "\n".join(lines)


def hidden_activations(sightings: Sightings, sites: Iterable[str]) -> dict[str, str]:
    """Modules that ran and may hide an activation of their own, with what to do, by path.

    Assumes that an activation layer of the user's is a leaf without parameters and not a class of
    ``torch.nn``. Where that fails, a layer is missing from this list, never from the measure.
    """
    with_sites = {site.rpartition("/")[0] or site.partition(":")[0] for site in sites}
    found: dict[str, str] = {}
    for name, module in sightings.executed.items():
        if name and name not in with_sites and _may_be_activation(module):
            cls = type(module).__name__
            found[name] = (
                f"{cls} is not known to foldmon; if it is an activation layer, call "
                f"foldmon.register_activation({cls}, thresholds)"
            )
    return found


def _may_be_activation(module: nn.Module) -> bool:
    cls = type(module)
    return (
        not cls.__module__.startswith("torch.")
        and not _NEUTRAL.search(cls.__name__)
        and reader_of(module) is None
        and next(module.children(), None) is None
        and next(module.parameters(recurse=False), None) is None
        and next(module.buffers(recurse=False), None) is None
    )
