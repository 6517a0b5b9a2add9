"""Journals of trainings that never ran: the shapes seen in healthy and in memorising runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

Record = dict[str, Any]

_PAIRS = 64
_TIME = 1_760_000_000_000


def start(layers: int = 8, units: int = 64, **changes: Any) -> Record:
    record: Record = {
        "kind": "start",
        "seq": 0,
        "time_ms": _TIME,
        "version": 1,
        "model": "Classifier",
        "coverage": {
            "sites": dict.fromkeys(layer_names(layers), units),
            "not_covered": {"head.gate": "Gate is not known to foldmon"},
            "kinks": {"pool": "MaxPool2d"},
            "notes": [],
        },
        "config": {"points": 33, "pairs": _PAIRS, "budget": 0.01},
    }
    return record | changes


def layer_names(count: int) -> list[str]:
    return [f"stage{i // 4 + 1}.block{i % 4}.relu" for i in range(count)]


def training(
    probes: int = 60,
    layers: int = 8,
    *,
    classes: int = 6,
    every: int = 50,
    plateau: float = 0.05,
    memorises: bool = False,
    exact: bool = False,
    seed: int = 0,
) -> list[Record]:
    """The records of a run, its start first and without an end."""
    rng = np.random.default_rng(seed)
    records = [start(layers)]
    depth = np.linspace(0, 1, layers)
    texture = rng.normal(0, 0.15, layers)
    noise = np.cumsum(rng.normal(0, 0.012, (probes, layers)), 0)
    for i in range(probes):
        t = i / max(probes - 1, 1)
        rise = 1 - np.exp(-4 * t)
        level = 0.07 * np.exp(-60 * t) + plateau * (0.15 + 0.85 * rise) * (
            1 + memorises * 2 * max(0, t - 0.4)
        )
        folding = np.abs(
            level * depth**1.4 * (1 + texture + noise[i]) + rng.normal(0, 0.0012, layers) * depth
        )
        cumulative = np.cumsum(folding) / np.arange(1, layers + 1) * (1 + 0.3 * depth)
        r2 = rng.integers(40, 60, _PAIRS)
        chi = np.clip(rng.normal(cumulative[-1], 0.35 * cumulative[-1], _PAIRS), 0, 0.9)
        r1 = np.round(r2 * 100 * (1 - chi)).astype(int)
        chi = 1 - r1 / (r2 * 100)
        spread = 1.96 * chi.std() / np.sqrt(_PAIRS)
        changes = 0.9 + 1.6 * np.exp(-8 * t) + (1.4 * max(0, t - 0.45) if memorises else 0)
        pairs = np.sort(rng.integers(0, classes, (_PAIRS, 2)), axis=1)
        matrix = _matrix(rng, classes, float(chi.mean()))
        warned = memorises and t > 0.62
        first = warned and (i - 1) / max(probes - 1, 1) <= 0.62
        records.append(
            {
                "kind": "probe",
                "seq": i + 1,
                "time_ms": _TIME + 4000 * (i + 1),
                "step": i * every,
                "method": "exact" if exact else "sampled",
                "exact": exact,
                "phi": float(chi.mean()),
                "phi_interval": [float(chi.mean() - spread), float(chi.mean() + spread)],
                "phi_median_nonzero": float(np.median(chi)),
                "nonzero_fraction": float((chi > 0).mean()),
                "phi_max": float(chi.max()),
                "layers": layer_names(layers),
                "units": [64] * layers,
                "folding": folding.tolist(),
                "cumulative": cumulative.tolist(),
                "r1": (folding * 40).tolist(),
                "r2": (folding * 60).tolist(),
                "network_r1": r1.tolist(),
                "network_r2": (r2 * 100).tolist(),
                "dead": rng.uniform(0, 0.2, layers).tolist(),
                "saturated": rng.uniform(0, 0.2, layers).tolist(),
                "nonfinite": [0] * layers,
                "decision": {
                    "changes": float(changes + rng.normal(0, 0.05)),
                    "elsewhere": float(np.clip(changes / 12 + rng.normal(0, 0.008), 0, 1)),
                    "ends": pairs.tolist(),
                },
                "classes": pairs.tolist(),
                "class_names": [str(c) for c in range(classes)],
                "class_matrix": matrix.tolist(),
                "held_out": held_out(0.93 - 0.6 * np.exp(-20 * t) - memorises * 0.3 * max(0, t - 0.5)),
                "evaluations": 33 * _PAIRS,
                "seconds": 0.04,
                "notes": [],
                "logged": {},
                "warning": {
                    "level": int(warned),
                    "score": float(min(1.0, max(0.0, t - 0.3))) if memorises else 0.05,
                    "event": _event(i * every) if first else None,
                },
                "monitor": {
                    "overhead": 0.0081,
                    "cost_seconds": 0.9,
                    "probe_seconds": 0.041,
                    "stall_seconds": 0.0004,
                    "skipped": i // 20,
                    "interval": 4.0,
                },
            }
        )
    return records


def held_out(accuracy: float) -> Record:
    accuracy = float(accuracy)
    loss = 0.15 + 2 * (1 - accuracy)
    return {
        "loss": loss,
        "loss_interval": [0.9 * loss, 1.1 * loss],
        "accuracy": accuracy,
        "accuracy_interval": [accuracy - 0.02, min(1.0, accuracy + 0.02)],
        "inputs": 512,
        "measured": None,
        "losses": [loss] * 4,
        "correct": [1] * 4,
        "predicted": [0] * 4,
    }


def rotating(probes: int = 100, layers: int = 4, *, share: int = 5) -> list[Record]:
    """A run of shares at growing intervals that folds much at first, its last probe whole; paths are kept."""
    records = training(probes, layers)
    rng = np.random.default_rng(0)
    for i, record in enumerate(records[1:]):
        record["step"] = i + round(1000 * (i / (probes - 1)) ** 3)
        record["pairs"] = _PAIRS
        count = share if i < probes - 1 else _PAIRS
        record["measured"] = None if count == _PAIRS else [(i * share + n) % _PAIRS for n in range(share)]
        for name in ("path_r1", "path_r2", "path_r1_cumulative"):
            record[name] = rng.integers(0, 5000, (count, layers)).tolist()
        record["decision"]["leading"] = rng.integers(0, 9, (count, 2, 3)).tolist()
        record["decision"]["probabilities"] = np.round(rng.random((count, 2, 3)), 4).tolist()
        for name in ("ends", "path_changes", "path_elsewhere", "entropy"):
            record["decision"][name] = rng.random((count, 2)).tolist()
        if i < 10:
            record["phi"], record["phi_interval"] = 0.5, [0.2, 0.9]
            record["folding"] = [value + 0.5 for value in record["folding"]]
    return records


def _matrix(rng: np.random.Generator, classes: int, level: float) -> np.ndarray:
    matrix = level * (0.5 + rng.random((classes, classes)))
    matrix = (matrix + matrix.T) / 2
    matrix[np.arange(classes), np.arange(classes)] = np.nan
    return matrix


def _event(step: int) -> Record:
    return {
        "step": step,
        "severity": 1,
        "reasons": [
            "Held-out accuracy is 83.1%, 8.4 points below its best at step 900 (512 inputs, p < 0.001), "
            "while the training loss still falls: the model memorizes. Step 900 was the best.",
            "held-out accuracy: 0.915 at step 900, 0.831 now, z = 4.1",
        ],
    }


def end(records: list[Record]) -> Record:
    last = records[-1]
    return {"kind": "end", "seq": last["seq"] + 1, "time_ms": last["time_ms"] + 1000}


def write(path: Path, records: list[Record], *, torn: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record) + "\n" for record in records) + torn)
    return path
