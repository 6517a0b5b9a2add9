"""Made-up runs, as journal records: held-out inputs that take turns, with or without labels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from statistics import NormalDist
from typing import Any

import numpy as np

INPUTS, SIZE, CLASSES = 512, 16, 10
Curve = Callable[[float], float]
"""From a step to a share of the inputs."""


def steps(probes: int, start: int = 0) -> list[int]:
    """When the timetable would probe: at every step, then at intervals of a fiftieth."""
    found, step = [], float(start)
    for _ in range(probes):
        found.append(int(step))
        step += max(1.0, step / 50)
    return found


def learned(step: float) -> float:
    """An accuracy that rises to 90% within a hundred steps and stands."""
    return 0.9 - 0.8 * float(np.exp(-step / 25))


def falling(from_step: int, by: float) -> Curve:
    """The same, until it falls while the number of steps doubles."""
    return lambda step: learned(step) - by * min(1.0, max(0.0, np.log(max(step, 1) / from_step) / np.log(2)))


def run(
    accuracy: Curve,
    probes: int = 250,
    *,
    blocks: int = 2,
    seed: int = 0,
    labels: bool = True,
    fading: float = 0.5,
    loss: Curve | None = None,
    logged: Curve | None = None,
    folding: Curve = lambda step: 0.05,
) -> Iterator[dict[str, Any]]:
    """Probe records of a run whose accuracy follows a curve.

    Args:
        accuracy: of the population; each input stays right or wrong for a while, hard ones wrong for long.
        probes: number of records.
        blocks: of 16 inputs that a probe looks at, 32 for all.
        seed: of all that is drawn.
        labels: whether losses and right predictions are known.
        fading: logarithm of the step in which an input's own luck changes.
        loss: mean held-out loss; None lets it follow the error.
        logged: training loss, None for none.
        folding: of both layers.
    """
    draw = np.random.default_rng(seed)
    hard, luck = draw.normal(size=INPUTS), draw.normal(size=INPUTS)
    truth, order = draw.integers(CLASSES, size=INPUTS), draw.permutation(INPUTS // SIZE)
    place, before = 0, 0.0
    for step in steps(probes):
        kept = float(np.exp(-(np.log(step + 25) - np.log(before + 25)) / fading))
        luck = kept * luck + np.sqrt(1 - kept**2) * draw.normal(size=INPUTS)
        before = step
        right = 0.8 * hard + 0.6 * luck < NormalDist().inv_cdf(min(max(accuracy(step), 1e-6), 1 - 1e-6))
        predicted = np.where(right, truth, (truth + 1) % CLASSES)
        taken = order[(place + np.arange(blocks)) % len(order)]
        place += blocks
        rows = (np.sort(taken)[:, None] * SIZE + np.arange(SIZE)).reshape(-1)
        mean = 2.0 * (1 - accuracy(step)) if loss is None else loss(step)
        losses = mean * np.exp(0.5 * luck - 0.125)
        yield {
            "kind": "probe",
            "step": step,
            "phi": 0.05,
            "layers": ["first", "second"],
            "folding": [folding(step), folding(step)],
            "nonfinite": [0, 0],
            "held_out": {
                "loss": mean if labels else None,
                "accuracy": float(accuracy(step)) if labels else None,
                "inputs": INPUTS,
                "measured": None if blocks == INPUTS // SIZE else rows.tolist(),
                "losses": losses[rows].tolist() if labels else None,
                "correct": right[rows].astype(int).tolist() if labels else None,
                "predicted": predicted[rows].tolist(),
            },
            "logged": {} if logged is None else {"loss": logged(step)},
        }
