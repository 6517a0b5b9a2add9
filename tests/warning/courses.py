"""Made-up courses of a run, as journal records."""

from __future__ import annotations

from typing import Any

import numpy as np

PATHS, CLASSES = 32, 4


def healthy(probes: int = 60, seed: int = 0, **logged: float) -> list[dict[str, Any]]:
    """Learning to a plateau: predictions settle, folding and doubt stay where they came to."""
    return [_record(step, 0.0, seed, **logged) for step in range(probes)]


def memorising(probes: int = 60, seed: int = 0, **logged: float) -> list[dict[str, Any]]:
    """The same, until from a third of the run on wrong labels are learned by heart."""
    return [_record(step, max(0.0, step / probes - 1 / 3) * 1.5, seed, **logged) for step in range(probes)]


def _record(step: int, memorised: float, seed: int, **logged: float) -> dict[str, Any]:
    noise = np.random.default_rng([seed, step])
    settled = 1 - np.exp(-step / 3)
    truth = np.random.default_rng(seed).integers(CLASSES, size=(PATHS, 2))
    wrong = noise.random((PATHS, 2)) < 0.4 * memorised + 0.7 * (1 - settled)
    ends = np.where(wrong, noise.integers(CLASSES, size=(PATHS, 2)), truth)
    doubt = 0.1 + (1 - settled) + 0.5 * memorised
    confidence = np.clip(1 - doubt * noise.uniform(0.1, 0.9, size=(PATHS, 2)), 0.3, 1)
    # The other classes, in the order of their numbers, share the rest unevenly.
    others = (ends[..., None] + np.arange(CLASSES)) % CLASSES
    rest = np.array([0.6, 0.3, 0.1]) * (1 - confidence[..., None])
    walked = noise.poisson(60 + 60 * memorised, size=PATHS)
    phi = float(0.03 + 0.05 * memorised + 0.05 * (1 - settled))
    reach = np.floor(walked * (1 - phi))
    return {
        "kind": "probe",
        "step": 10 * step,
        "phi": phi,
        "layers": ["first", "second"],
        "folding": [0.0, phi],
        "cumulative": [0.0, phi],
        "r1": [20.0, 20.0],
        "r2": [20.0, float(walked.mean()) - 20],
        "network_r1": reach.tolist(),
        "network_r2": walked.tolist(),
        "dead": [0.1, 0.2],
        "saturated": [0.05, 0.05],
        "nonfinite": [0, 0],
        "decision": {
            "changes": float(
                (ends[:, 0] != ends[:, 1]).mean() + 0.05 + 0.8 * memorised + 0.3 * (1 - settled)
            ),
            "elsewhere": 0.02 + 0.2 * memorised,
            "ends": ends.tolist(),
            "entropy": np.full((PATHS, 2), doubt).tolist(),
            "leading": others.tolist(),
            "probabilities": np.concatenate([confidence[..., None], rest], axis=2).tolist(),
            "of": CLASSES,
        },
        "logged": {"loss": float(max(0.1 + (1 - settled) - 0.1 * memorised, 0.002)), **logged},
    }
