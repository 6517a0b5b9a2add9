"""The grid of runs: two parts that share neither a family of data sets nor an architecture."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass

import numpy as np

DEVELOPMENT = {
    "mnist": ("cnn", "cnn", "deep", "wide"),
    "digits": ("deep", "narrow", "cnn"),
    "mail": ("deep", "narrow", "wide"),
    "cut": ("deep", "narrow", "wide"),
    "cells": ("deep", "narrow", "wide"),
    "letters": ("causal", "wide", "deep"),
    "shells": ("deep", "narrow", "wide"),
}
HELD_APART = {
    "fashion": ("resnet", "resnet", "residual", "gated"),
    "patches": ("resnet", "residual", "gated"),
    "tags": ("transformer", "transformer", "gated"),
    "leaves": ("residual", "gated", "transformer"),
    "churn": ("residual", "gated", "transformer"),
    "tones": ("residual", "gated", "transformer"),
}
LATE = {"sums": ("wide", "deep"), "products": ("transformer", "gated")}
"""Tasks that are learned by heart first and understood later, by architecture; one of each part."""
LOSS_ONLY = {
    "price": ("deep", "wide"),
    "help": ("causal",),
    "ridership": ("residual", "gated"),
    "houses": ("residual", "gated"),
    "novels": ("transformer",),
}
"""Regressions and language models: no accuracy to lose, only loss."""
_DOMAINS = ("mail", "patches", "tags", "price", "ridership", "houses")

DEGRADING = ("noise", "few", "noise", "tuning", "drift", "noise", "imbalance", "rate", "domain", "noise")
HEALTHY = ("plain", "cosine", "augmentation", "restarts", "decay", "dropout", "descent")
"""What the conditions are meant to be. What becomes of a run is told by its validation set alone."""
_OPTIMIZERS = (("adam", 1e-3), ("adam", 3e-3), ("sgd", 0.05))
_STEPS = (300, 500, 800, 1200, 2000, 3000, 5000, 10_000)
_SHARES = (0.12, 0.18, 0.2, 0.2, 0.15, 0.08, 0.05, 0.02)
_EPOCHS = {"noise": (10, 20, 40, 80), "few": (100, 300), "tuning": (40, 120), "descent": (30, 60)}
_BATCH = 64


@dataclass(frozen=True)
class Spec:
    """One training run.

    Attributes:
        size: training examples.
        noise: share of wrong labels.
        schedule: "constant", "cosine" or "restarts".
    """

    part: str
    data: str
    architecture: str
    activation: str
    optimizer: str
    rate: float
    schedule: str
    condition: str
    noise: float
    size: int
    steps: int
    seed: int

    @property
    def key(self) -> str:
        """A name of the run that survives a change of the grid's order."""
        return hashlib.sha256(json.dumps(asdict(self)).encode()).hexdigest()[:12]


def grid(rounds: int) -> list[Spec]:
    """The runs of so many rounds, those with few steps first.

    A round holds five runs of each family, three of them meant to degrade and two not; and a few whose
    family takes part in its own way. Everything but the condition is drawn.
    """
    found = []
    for number in range(rounds):
        for part, families in (("development", DEVELOPMENT), ("held apart", HELD_APART)):
            for place, (data, architectures) in enumerate(families.items()):
                for turn in range(3):
                    condition = DEGRADING[(3 * number + turn + 4 * place) % len(DEGRADING)]
                    found.append(_spec(part, data, architectures, condition, f"{number} {turn}"))
                for turn in range(2):
                    condition = HEALTHY[(2 * number + turn + 3 * place) % len(HEALTHY)]
                    found.append(_spec(part, data, architectures, condition, f"{number} {turn}"))
        for data, architectures in LATE.items():
            found.append(_spec(_part(data), data, architectures, "late", str(number)))
        for data, architectures in LOSS_ONLY.items():
            for condition in ("few", "plain") if number % 2 else ("cosine", "few", "domain"):
                found.append(_spec(_part(data), data, architectures, condition, str(number)))
    return sorted(found, key=lambda spec: (spec.data in LOSS_ONLY, spec.steps, spec.key))


def _part(data: str) -> str:
    return "development" if data in ("sums", "price", "help") else "held apart"


def _spec(part: str, data: str, architectures: tuple[str, ...], condition: str, place: str) -> Spec:
    if condition == "domain" and data not in _DOMAINS:
        condition = "noise"
    seed = int(hashlib.sha256(f"{data} {condition} {place}".encode()).hexdigest()[:6], 16)
    generator = np.random.default_rng(seed)
    optimizer, rate = _OPTIMIZERS[generator.integers(len(_OPTIMIZERS))]
    steps = int(generator.choice(_STEPS, p=_SHARES))
    if condition == "late":
        optimizer, rate, steps = "adam", 3e-3, int(generator.choice([2000, 3000, 5000]))
    epochs = int(generator.choice(_EPOCHS.get(condition, (4, 8, 20))))
    noise = {"noise": float(generator.choice([0.2, 0.3, 0.4, 0.6])), "tuning": 0.2, "descent": 0.15}
    schedule = (
        condition
        if condition in ("cosine", "restarts")
        else str(generator.choice(["constant", "constant", "cosine"]))
    )
    return Spec(
        part=part,
        data=data,
        architecture=str(generator.choice(architectures)),
        activation=str(generator.choice(["relu", "relu", "gelu", "silu", "leaky"])),
        optimizer=optimizer,
        rate=rate,
        schedule="constant" if condition in ("late", "rate") else schedule,
        condition=condition,
        noise=noise.get(condition, 0.0),
        size=int(np.clip(steps * _BATCH / epochs, 64, 8000)),
        steps=steps,
        seed=seed % 10_000,
    )
