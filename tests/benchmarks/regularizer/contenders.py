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

    @property
    def key(self) -> str:
        return ",".join(f"{name}={value:g}" for name, value in asdict(self).items() if value)


RATES = (2.5e-4, 5e-4, 1e-3, 2e-3, 4e-3, 8e-3, 1.6e-2, 3.2e-2)
STRENGTHS: Mapping[str, tuple[float, ...]] = {
    "weight_decay": (0.03, 0.3, 1.0, 3.0),
    "dropout": (0.1, 0.25, 0.4, 0.6),
    "smoothing": (0.03, 0.1, 0.2, 0.4),
    "mixup": (0.1, 0.3, 1.0, 3.0),
    "folding": (0.03, 0.3, 1.0, 3.0),
}
OTHERS = ("weight_decay", "dropout", "smoothing", "mixup")
COMBINED = "folding+best"
CONTENDERS = ("none", *OTHERS, "folding", COMBINED)


def plain_grid() -> list[Configuration]:
    """Eight learning rates without any regularizer."""
    return [Configuration(rate) for rate in RATES]


def grid(contender: str, rate: float) -> list[Configuration]:
    """Four strengths at the learning rate that was tuned without a regularizer, and at four times it."""
    return [
        Configuration(lr, **{contender: strength})
        for lr in (rate, 4 * rate)
        for strength in STRENGTHS[contender]
    ]


def combined_grid(best: Configuration) -> list[Configuration]:
    """Eight weights of folding on top of the best other contender's own configuration."""
    return [replace(best, folding=weight) for weight in (0.01, 0.03, 0.1, 0.3, 1.0, 2.0, 4.0, 8.0)]
