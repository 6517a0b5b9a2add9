"""Which probe of a run is its best."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from foldmon.exporters.scale import settled
from foldmon.views.run.rows import Row
from foldmon.views.run.scores import HELD_OUT, LOWER, best_named

LEAST_FOLDING = "least decision folding"


class Best(NamedTuple):
    """The number of the best probe in the list, and by what it is the best."""

    row: int
    why: str


def best_of(rows: Sequence[Row]) -> Best | None:
    """``best_probe`` of a run's rows; without a held-out score of the user's own by what foldmon measured."""
    steps = [row.step for row in rows]
    logged: list[dict[str, float]] = [row.logged for row in rows]
    if not HELD_OUT.search(best_named(logged) or ""):
        if (row := _named_by_the_warning(rows)) is not None:
            return Best(row, "best held-out score")
        logged = [row.logged | _measured(row) for row in rows]
    return best_probe(steps, logged, [row.values["changes"] for row in rows])


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
    if (name := best_named(logged)) is not None:
        sign = 1.0 if LOWER.search(name) else -1.0
        scores = [sign * values.get(name, math.inf) for values in logged]
        scores = [score if math.isfinite(score) else math.inf for score in scores]
        index = min(range(len(scores)), key=scores.__getitem__)
        return Best(index, f"{'lowest' if sign > 0 else 'highest'} {name}")
    later = range(settled(steps), len(steps)) if steps else ()
    known = [index for index in later if changes[index] is not None]
    if not known:
        return None
    return Best(min(known, key=lambda index: float(changes[index])), LEAST_FOLDING)


def _named_by_the_warning(rows: Sequence[Row]) -> int | None:
    """The probe whose weights the record, or without labels the latest warning, calls the best."""
    named = [rows[-1].values["best_step"]] if rows else []
    named += [row.event.get("best_step") for row in reversed(rows) if row.event is not None]
    best = next((step for step in named if step is not None), None)
    return next((place for place, row in enumerate(rows) if row.step == best), None)


def _measured(row: Row) -> dict[str, float]:
    """The held-out scores that foldmon measured, by names that the score is recognised by."""
    scores = {"held-out accuracy": "heldout_accuracy", "held-out loss": "heldout_loss"}
    return {name: row.values[key] for name, key in scores.items() if row.values[key] is not None}
