"""Keep Python's, NumPy's and torch's global random generators as they were."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from foldmon.folding.undisturbed.accelerator import (
    generator_states,
    seed_generators,
    set_generator_states,
)


def random_state() -> dict[str, Any]:
    """The states of all global generators of this process, to compare or to put back."""
    return {
        "python": random.getstate(),
        "numpy": np.random.get_state(),
        "torch": torch.get_rng_state(),
        "devices": generator_states(),
    }


def drew(before: dict[str, Any]) -> bool:
    """Whether a global generator of this process moved since ``before`` was taken."""
    now = random_state()
    if before["python"] != now["python"] or _differ(before["numpy"], now["numpy"]):
        return True
    pairs = [(before["torch"], now["torch"]), *zip(before["devices"], now["devices"], strict=False)]
    return any(not torch.equal(a, b) for a, b in pairs)


def _differ(a: Any, b: Any) -> bool:
    """Whether two states of NumPy's legacy generator, tuples with one array, differ."""
    return any(not np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def seed_all(seed: int) -> None:
    """Seed all global generators that are in use.

    Not ``torch.manual_seed``: it also queues the seed for a GPU that is not in use yet.
    """
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.default_generator.manual_seed(seed)
    seed_generators(seed)


@contextmanager
def preserved_random_state() -> Iterator[None]:
    """Put the global generators back at the end of the block.

    They belong to the whole process: use it in the user's own thread only, never in a sampler's.
    """
    state = random_state()
    try:
        yield
    finally:
        random.setstate(state["python"])
        np.random.set_state(state["numpy"])
        torch.set_rng_state(state["torch"])
        set_generator_states(state["devices"])
