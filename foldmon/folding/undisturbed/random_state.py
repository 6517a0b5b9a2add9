"""Keep Python's, NumPy's and torch's global random generators as they were."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from foldmon.folding.undisturbed.accelerator import (
    generator_states,
    seed_generators,
    set_generator_states,
)
from foldmon.folding.undisturbed.draws import noted, noted_draws
from foldmon.folding.undisturbed.restores import same_values


def random_state() -> dict[str, Any]:
    """The states of all global generators of this process, to compare or to put back."""
    notes = noted()
    return {
        "python": random.getstate(),
        "numpy": np.random.get_state(),
        "torch": torch.get_rng_state(),
        "devices": generator_states(),
        "noted": notes.count if notes is not None else 0,
    }


def drew(before: dict[str, Any]) -> bool:
    """Whether this thread has moved a global generator since ``before`` was taken."""
    return bool(_moved(before))


def _moved(before: dict[str, Any]) -> list[str]:
    """Names of the generators that this thread has moved; where none of its draws are noted, that any has."""
    now, notes = random_state(), noted()
    moved = [name for name in _SETTERS if not same_values(now[name], before[name])]
    if notes is None:
        return moved
    return [name for name in moved if notes.latest.get(name, 0) > before["noted"]]


def seed_all(seed: int) -> None:
    """Seed all global generators that are in use.

    Not ``torch.manual_seed``: it also queues the seed for a GPU that is not in use yet.
    """
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.default_generator.manual_seed(seed)
    seed_generators(seed)
    note_seeding()


def note_seeding() -> None:
    """This thread has seeded the generators of Python, NumPy and torch."""
    if (notes := noted()) is not None:
        notes.note(*_SETTERS)


@contextmanager
def preserved_random_state() -> Iterator[None]:
    """Put back the global generators that this thread has moved, at the end of the block.

    They belong to the whole process: use it in the user's own thread only, never in a sampler's.
    """
    with noted_draws():
        before = random_state()
        try:
            yield
        finally:
            for name in _moved(before):
                _SETTERS[name](before[name])


_SETTERS: dict[str, Callable[[Any], object]] = {
    "python": random.setstate,
    "numpy": np.random.set_state,
    "torch": torch.set_rng_state,
    "devices": set_generator_states,
}
