"""Which activation calls a measurement covers, and which it saw without understanding them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from foldmon.measure.activations import reader_of
from foldmon.measure.taps import Sightings


@dataclass(frozen=True)
class Coverage:
    """What of a model is measured.

    Attributes:
        sites: units of each covered activation call, by site name, in order of execution.
        not_covered: activation layers seen but not understood, with the reason, by place.
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
            lines.append(f"bends without units of their own ({len(self.kinks)}): {places}")
        lines += [f"note: {note}" for note in self.notes]
        return "\n".join(lines)


def hidden_activations(sightings: Sightings, sites: Iterable[str], like: Tensor) -> dict[str, str]:
    """Modules that ran and are activation layers that foldmon does not know, with what to do, by path.

    Found out by trying, in eval mode: a leaf of a class that is not torch's, which maps every number of
    a tensor on its own and not along a straight line. One module of each class and shape is tried.

    Args:
        sightings: of a pass.
        sites: that were read in it.
        like: has the dtype and the device of the model's activations.
    """
    with_sites = {site.rpartition("/")[0] or site.partition(":")[0] for site in sites}
    tried: dict[tuple[type[nn.Module], torch.Size], bool] = {}
    found: dict[str, str] = {}
    for name, module in sightings.executed.items():
        cls, shape = type(module), sightings.shapes.get(name)
        if not name or name in with_sites or shape is None or not _is_leaf_of_others(module):
            continue
        if (cls, shape) not in tried:
            tried[cls, shape] = _bends_pointwise(module, like.new_empty(shape))
        if tried[cls, shape]:
            found[name] = (
                f"{cls.__name__} is not known to foldmon; if it is an activation layer, call "
                f"foldmon.register_activation({cls.__name__}, thresholds)"
            )
    return found


def _is_leaf_of_others(module: nn.Module) -> bool:
    return (
        not type(module).__module__.startswith("torch.")
        and reader_of(module) is None
        and next(module.children(), None) is None
    )


def _bends_pointwise(module: nn.Module, room: Tensor) -> bool:
    """Whether a module's output depends on the number at its own place only, and not linearly."""
    draws = torch.randn((3, *room.shape), generator=torch.Generator().manual_seed(0)).to(room)
    a, b, from_a = 4 * draws[0], 4 * draws[1], draws[2] > 0
    try:
        # Not the module itself: hooks of its owner's are not meant for these values.
        at_a, at_b, at_both, between = (
            module.forward(x) for x in (a.clone(), b.clone(), torch.where(from_a, a, b), (a + b) / 2)
        )
        pointwise = at_a.shape == room.shape and _close(at_both, torch.where(from_a, at_a, at_b))
        return pointwise and not _close(between, (at_a + at_b) / 2)
    except Exception:
        return False  # it takes no such numbers, or puts out something else


def _close(a: Tensor, b: Tensor) -> bool:
    return torch.allclose(a, b, rtol=0.02, atol=1e-3, equal_nan=True)
