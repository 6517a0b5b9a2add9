"""Activation layers that foldmon does not know, found by trying."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from foldmon.folding.model.taps import Sightings
from foldmon.folding.symbols.registry import reader_of

_ROWS = 2  # two tell what mixes rows, more would cost memory


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
            few = [min(size, _ROWS) if axis == 0 else size for axis, size in enumerate(shape)]
            tried[cls, shape] = _bends_pointwise(module, like.new_empty(few))
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
