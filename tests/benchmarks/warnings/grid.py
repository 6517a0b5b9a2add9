"""The grid of runs: two parts that share neither a family of data sets nor an architecture."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass

import numpy as np

DEVELOPMENT = {
    "digits": ("deep", "narrow", "cnn"),
    "blobs": ("deep", "narrow", "wide"),
    "wine": ("deep", "narrow", "wide"),
    "cancer": ("deep", "narrow", "wide"),
    "spirals": ("deep", "wide"),
    "text": ("narrow", "wide"),
    "shapes": ("deep", "wide", "cnn"),
    "shells": ("deep", "narrow", "wide"),
    "columns": ("deep", "narrow", "wide"),
}
HELD_APART = {
    "patches": ("residual", "resnet"),
    "diabetes": ("residual", "gated", "transformer"),
    "tones": ("residual", "gated", "transformer"),
    "teacher": ("residual", "gated", "transformer"),
    "brackets": ("gated", "transformer"),
}
CONDITIONS = (
    "healthy",
    "healthy",
    "dropout",
    "weight decay",
    "augmentation",
    "noise 10%",
    "noise 20%",
    "noise 40%",
    "noise 60%",
    "few samples",
    "few samples",
    "breaking rate",
    "shift",
    "dead units",
    "leak",
    "leak",
)
_OPTIMIZERS = (("adam", 1e-3), ("adam", 3e-3), ("sgd", 0.03))


@dataclass(frozen=True)
class Spec:
    """One training run."""

    part: str
    data: str
    architecture: str
    activation: str
    optimizer: str
    rate: float
    condition: str
    steps: int
    probes: int
    seed: int

    @property
    def key(self) -> str:
        """A name of the run that survives a change of the grid's order."""
        return hashlib.sha256(json.dumps(asdict(self)).encode()).hexdigest()[:12]


def grid(rounds: int) -> list[Spec]:
    """``rounds`` runs of every (data set, condition); architecture and optimizer are drawn anew for each.

    The activation and the number of steps and probes vary too. Round after round, so that a run that is
    cut short has covered every condition.
    """
    return [
        _spec(part, data, architectures, condition, place, number)
        for number in range(rounds)
        for place, condition in enumerate(CONDITIONS)
        for part, sets in (("development", DEVELOPMENT), ("held apart", HELD_APART))
        for data, architectures in sets.items()
    ]


def _spec(
    part: str, data: str, architectures: tuple[str, ...], condition: str, place: int, number: int
) -> Spec:
    seed = int(hashlib.sha256(f"{data} {place} {number}".encode()).hexdigest()[:6], 16)
    generator = np.random.default_rng(seed)
    optimizer, rate = _OPTIMIZERS[generator.integers(len(_OPTIMIZERS))]
    return Spec(
        part=part,
        data=data,
        architecture=str(generator.choice(architectures)),
        activation=str(generator.choice(["relu", "relu", "gelu", "silu", "leaky"])),
        optimizer=optimizer,
        rate=rate,
        condition=condition,
        steps=int(generator.choice([500, 1000, 1600])),
        probes=int(generator.choice([32, 48, 64])),
        seed=seed % 10_000,
    )
