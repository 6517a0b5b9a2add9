"""Which probe of a run is its best."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from foldmon.exporters.scale import settled
from foldmon.views.run.rows import Row

_HIGHER = re.compile(r"acc|f1|auc|precision|recall|score|bleu|r2", re.IGNORECASE)
_LOWER = re.compile(r"loss|err|perplexity|ppl|mse|mae|nll", re.IGNORECASE)
_HELD_OUT = re.compile(r"val|test|eval|held", re.IGNORECASE)
_IN_TRAINING = re.compile(r"train", re.IGNORECASE)

LEAST_FOLDING = "least decision folding"


class Best(NamedTuple):
    """The number of the best probe in the list, and by what it is the best."""

    row: int
    why: str


def best_of(rows: Sequence[Row]) -> Best | None:
    """``best_probe`` of a run's rows."""
    columns = (
        [row.step for row in rows],
        [row.logged for row in rows],
        [row.values["changes"] for row in rows],
    )
    return best_probe(*columns)


def best_probe(
    steps: Sequence[int], logged: Sequence[dict[str, float]], changes: Sequence[Any]
) -> Best | None:
    """The best probe by the user's own held-out score, else by decision folding.

    A score is recognised by its name (``val_accuracy``, ``test/loss``, ...). Without one, the probe with the
    fewest class changes a path counts as best, the first tenth of the steps left out: an untrained network
    that answers the same class everywhere changes it nowhere.

    Args:
        steps: of the probes, in order.
        logged: what the user logged, a mapping a probe.
        changes: mean class changes a path, a number or None a probe.

    Example:
        >>> best_probe([0, 5, 9], [{"val_loss": 0.9}, {"val_loss": 0.4}, {"val_loss": 0.6}], [None] * 3)
        Best(row=1, why='lowest val_loss')
        >>> best_probe([0, 5, 9], [{}, {}, {}], [0.0, 1.1, 1.4])
        Best(row=1, why='least decision folding')
    """
    if (name := _score(logged)) is not None:
        sign = 1.0 if _LOWER.search(name) else -1.0
        scores = [sign * values.get(name, math.inf) for values in logged]
        scores = [score if math.isfinite(score) else math.inf for score in scores]
        index = min(range(len(scores)), key=scores.__getitem__)
        return Best(index, f"{'lowest' if sign > 0 else 'highest'} {name}")
    later = range(settled(steps), len(steps)) if steps else ()
    known = [index for index in later if changes[index] is not None]
    if not known:
        return None
    return Best(min(known, key=lambda index: float(changes[index])), LEAST_FOLDING)


def _score(logged: Sequence[dict[str, float]]) -> str | None:
    """The logged name that most looks like a held-out score."""
    names = {name: None for values in logged for name, value in values.items() if math.isfinite(value)}
    scores = [
        name
        for name in names
        if (_HIGHER.search(name) or _LOWER.search(name)) and not _IN_TRAINING.search(name)
    ]
    scores.sort(key=lambda name: (not _HELD_OUT.search(name), not _HIGHER.search(name)))
    return scores[0] if scores else None
