"""The contenders: each gets the same number of configurations to be tuned over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace


@dataclass(frozen=True)
class Configuration:
    """Everything that training one network needs."""

    lr: float
    weight_decay: float = 0.0
    dropout: float = 0.0
    smoothing: float = 0.0
    mixup: float = 0.0
    folding: float = 0.0
    early: bool = False  # folding is rewarded in the first half of the training only

    @property
    def key(self) -> str:
        return ",".join(f"{name}={value:g}" for name, value in asdict(self).items() if value)


RATES = (1e-3, 4e-3)
STRENGTHS: Mapping[str, tuple[float, ...]] = {
    "weight_decay": (0.03, 0.3, 1.0, 3.0),
    "dropout": (0.1, 0.25, 0.4, 0.6),
    "smoothing": (0.03, 0.1, 0.2, 0.4),
    "mixup": (0.1, 0.3, 1.0, 3.0),
    "folding": (0.03, 0.3, 1.0, 3.0),
}
OTHERS = ("weight_decay", "dropout", "smoothing", "mixup")
COMBINED = "folding+best"

_GRIDS = {
    name: [Configuration(lr, **{name: s}) for lr in RATES for s in values]
    for name, values in STRENGTHS.items()
}
_GRIDS["folding_early"] = [replace(c, early=True) for c in _GRIDS["folding"]]
_GRIDS["none"] = [Configuration(lr) for lr in (2.5e-4, 5e-4, 1e-3, 2e-3, 4e-3, 8e-3, 1.6e-2, 3.2e-2)]
CONTENDERS = ("none", *OTHERS, "folding", "folding_early")


def grid(contender: str) -> list[Configuration]:
    """The eight configurations of a contender."""
    return _GRIDS[contender]


def combined_grid(best: Configuration) -> list[Configuration]:
    """Eight weights of folding on top of the best other contender's own configuration."""
    return [replace(best, folding=weight) for weight in (0.01, 0.03, 0.1, 0.3, 1.0, 2.0, 4.0, 8.0)]
