"""Activation layers that foldmon does not know, found by trying."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from foldmon.folding.model.taps import Sightings
from foldmon.folding.symbols.registry import reader_of
from foldmon.torch_internals import has_weights

_ROWS = 2  # two tell what mixes rows, more would cost memory

SPIKING = "puts out zeros and ones, spikes of a state that it keeps"
"""Why a spiking layer is not covered."""
_CUTS = ("maximum", "minimum")


def hidden_activations(sightings: Sightings, sites: Iterable[str], like: Tensor) -> dict[str, str]:
    """Modules that ran and bend values in a way that foldmon does not know, with what to do, by path.

    Activation layers are found out by trying, in eval mode: a leaf of a class that is not torch's, which maps
    every number of a tensor on its own and not along a straight line. One module of each class and shape is
    tried. Of the others a leaf whose outputs are zeros and ones is a spiking layer, and one with weights
    that takes the larger or smaller of two numbers has a cut that its input does not tell (a norm with a
    learned threshold).

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
        if not name or name in with_sites or not _is_leaf_of_others(module):
            continue
        if shape is not None and (cls, shape) not in tried:
            few = [min(size, _ROWS) if axis == 0 else size for axis, size in enumerate(shape)]
            tried[cls, shape] = _bends_pointwise(module, like.new_empty(few))
        if shape is not None and tried[cls, shape]:
            found[name] = (
                f"{cls.__name__} is not known to foldmon; if it is an activation layer, call "
                f"foldmon.register_activation({cls.__name__}, thresholds)"
            )
        elif _spikes(module, sightings.put_out.get(name)):
            found[name] = f"{cls.__name__} {SPIKING}: spiking layers are not covered"
        elif any(f"{name}/{cut}" in sightings.kinks for cut in _CUTS) and has_weights(module):
            found[name] = (
                f"{cls.__name__} bends values at a cut of its own behind what it computes (a norm with a "
                "learned threshold): no threshold on its input tells where, so it is not covered"
            )
    return found


def _spikes(module: nn.Module, put_out: tuple[float, float] | None) -> bool:
    # Below its threshold it puts out zeros, as a layer does whose weights are zero.
    if put_out is None:
        return False
    return put_out[1] > 0 or any(hasattr(module, name) for name in ("threshold", "v_threshold"))


def _is_leaf_of_others(module: nn.Module) -> bool:
    return (
        not type(module).__module__.startswith("torch.")
        and reader_of(module) is None
        and next(module.children(), None) is None
    )


def _bends_pointwise(module: nn.Module, room: Tensor) -> bool:
    """Whether a module's output depends on the number at its own place only, and not linearly."""
    draws = torch.randn((3, *room.shape), generator=torch.Generator().manual_seed(0), device="cpu").to(room)
    # Of different size, so that what a norm makes of them shows in their mixture however many they are.
    a, b, from_a = 2 * draws[0], 8 * draws[1] + 1, draws[2] > 0
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
