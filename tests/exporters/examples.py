"""Records as a monitor writes them, for tests of exporters."""

from __future__ import annotations

from typing import Any


def start(layers: int = 3) -> dict[str, Any]:
    sites = {f"block.{place}.relu": 10 for place in range(layers)}
    return {
        "kind": "start", "seq": 0, "time_ms": 1_700_000_000_000, "version": 1, "model": "Net",
        "coverage": {"sites": sites, "not_covered": {}, "kinks": {}, "notes": []},
        "config": {"every": None, "budget": 0.01},
    }  # fmt: skip


def held_out(**changes: Any) -> dict[str, Any]:
    return {
        "loss": 0.31, "loss_interval": [0.25, 0.4], "accuracy": 0.9, "accuracy_interval": [0.87, 0.92],
        "inputs": 512, "measured": [3, 4], "losses": [0.1, 0.5], "correct": [1, 0], "predicted": [2, 2],
    } | changes  # fmt: skip


def probe(step: int, phi: float = 0.02, layers: int = 3, event: dict | None = None) -> dict[str, Any]:
    names = [f"block.{place}.relu" for place in range(layers)]
    return {
        "kind": "probe", "seq": step + 1, "time_ms": 1_700_000_000_000 + 1000 * step, "step": step,
        "method": "sampled", "exact": False, "phi": phi, "phi_interval": [phi - 0.01, phi + 0.01],
        "phi_median_nonzero": phi, "nonzero_fraction": 0.5, "phi_max": 2 * phi,
        "layers": names, "units": [10] * layers,
        "folding": [phi * place / layers for place in range(layers)],
        "cumulative": [phi * place / layers for place in range(layers)],
        "r1": [3.0] * layers, "r2": [4.0] * layers, "network_r1": [9, 9], "network_r2": [12, 9],
        "dead": [0.1] * layers, "saturated": [0.0] * layers, "nonfinite": [0] * layers,
        "decision": {"changes": 1.5, "elsewhere": 0.2, "ends": [[0, 1], [1, 2]]},
        "classes": [[0, 1], [1, 2]], "class_names": ["a", "b", "c"],
        "class_matrix": [[float("nan"), phi, phi], [phi, float("nan"), phi], [phi, phi, float("nan")]],
        "evaluations": 66, "seconds": 0.01, "notes": [], "logged": {"val_loss": 0.5},
        "warning": {"level": 2 if event else 0, "event": event},
        "monitor": {
            "overhead": 0.004, "probe_seconds": 0.01, "stall_seconds": 1e-4, "skipped": 0, "interval": 1.0,
        },
    }  # fmt: skip
