"""Every option of ``foldmon.watch`` that is a plain value, checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

_METHODS = ("auto", "sampled", "exact")


@dataclass(frozen=True)
class Config:
    """Options of a monitor.

    Attributes:
        every: training steps between probes; None adapts the interval to the budget.
        budget: share of the training time that probes may cost, 0 < budget <= 1.
        pairs: number of held-out pairs P, at least 2.
        points: points a path n, at least 2.
        method: "sampled" or "exact", see ``foldmon.measure``; "auto" takes what is cheapest in time and the
            same at every probe, which is "sampled".
        layers: names or shell patterns of the layers to measure; None for all.
        at: path of the module whose output is interpolated instead of the inputs; None finds it.
        background: measure in a thread of its own on a copy of the weights; False measures in the training
            thread on the model itself.
        seed: of the draw of the pairs.
        log_dir: folder of the run; None makes ``runs/foldmon-<time>``.
        replica_limit: bytes of weights up to which a copy is made; larger models are measured in the
            training thread.

    Raises:
        ValueError: an option out of its range; the message says which and what it takes.
    """

    every: int | None = None
    budget: float = 0.01
    pairs: int = 64
    points: int = 33
    method: Literal["auto", "sampled", "exact"] = "auto"
    layers: str | Sequence[str] | None = None
    at: str | None = None
    background: bool = True
    seed: int = 0
    log_dir: str | None = None
    replica_limit: int = 8 * 2**30

    def __post_init__(self) -> None:
        if self.every is not None:
            _check(_whole(self.every) and self.every >= 1, "every", self.every, "at least 1 step, or None")
        _check(_number(self.budget) and 0 < self.budget <= 1, "budget", self.budget, "a share in (0, 1]")
        _check(_whole(self.pairs) and self.pairs >= 2, "pairs", self.pairs, "at least 2")
        _check(_whole(self.points) and self.points >= 2, "points", self.points, "at least 2 (both ends)")
        _check(self.method in _METHODS, "method", self.method, f"one of {', '.join(_METHODS)}")
        _check(_whole(self.replica_limit), "replica_limit", self.replica_limit, "a number of bytes")

    def to_dict(self) -> dict[str, Any]:
        """The options as plain values."""
        return asdict(self)


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _check(holds: bool, name: str, value: object, wanted: str) -> None:
    if not holds:
        raise ValueError(f"{name} must be {wanted}, got {value!r}")
