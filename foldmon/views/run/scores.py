"""Which of the user's own numbers are held-out scores: told by their names."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence

HIGHER = re.compile(r"acc|f1|auc|precision|recall|score|bleu|r2", re.IGNORECASE)
LOWER = re.compile(r"loss|err|perplexity|ppl|mse|mae|nll", re.IGNORECASE)
HELD_OUT = re.compile(r"val|test|eval|held", re.IGNORECASE)
IN_TRAINING = re.compile(r"train", re.IGNORECASE)

USERS: Mapping[str, re.Pattern[str]] = {
    "user_loss": re.compile(r"loss", re.IGNORECASE),
    "user_accuracy": re.compile(r"acc", re.IGNORECASE),
}
"""What is drawn beside foldmon's own held-out loss and accuracy, by the column that holds it."""


def users_own(kind: str, logged: Iterable[str]) -> str | None:
    """The logged name of the user's own held-out loss or accuracy; None where there is none.

    Args:
        kind: a column of ``USERS``.
        logged: names of what was logged.

    Example:
        >>> users_own("user_loss", ["loss", "val_loss"]), users_own("user_accuracy", ["train_acc"])
        ('val_loss', None)
    """
    fits = USERS[kind]
    return next((name for name in logged if fits.search(name) and _held_out(name)), None)


def users_scores(kind: str, logged: Sequence[Mapping[str, float]]) -> list[float | None]:
    """The user's own held-out loss or accuracy, probe by probe; accuracies in percent become shares.

    Example:
        >>> users_scores("user_accuracy", [{"val_acc": 81.5}, {}, {"val_acc": 90.0}])
        [0.815, None, 0.9]
    """
    named = [users_own(kind, values) for values in logged]
    scores = [None if name is None else values[name] for name, values in zip(named, logged, strict=True)]
    known = [score for score in scores if score is not None and math.isfinite(score)]
    scale = 100.0 if kind == "user_accuracy" and max(known, default=0.0) > 1 else 1.0
    return [None if score is None or not math.isfinite(score) else score / scale for score in scores]


def best_named(logged: Iterable[Mapping[str, float]]) -> str | None:
    """The logged name that most looks like a held-out score; ``loss`` is the training's, see ``Monitor.log``.

    Example:
        >>> best_named([{"rate": 0.1, "test_loss": 0.4}, {"test_loss": 0.3, "test_acc": 0.8}])
        'test_acc'
    """
    names = {name: None for values in logged for name, value in values.items() if math.isfinite(value)}
    scores = [
        name
        for name in names
        if (HIGHER.search(name) or LOWER.search(name)) and not IN_TRAINING.search(name) and name != "loss"
    ]
    scores.sort(key=lambda name: (not HELD_OUT.search(name), not HIGHER.search(name)))
    return scores[0] if scores else None


def _held_out(name: str) -> bool:
    return bool(HELD_OUT.search(name)) and not IN_TRAINING.search(name)
