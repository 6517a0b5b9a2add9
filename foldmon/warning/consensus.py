"""What the model held of the held-out inputs for long, and how far its predictions now are from that."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from foldmon.folding.results.statistics import Floats, Ints
from foldmon.journal.schema import Record

_SMALL = 1e-12
_MOST_CLASSES = 1024
"""Columns that are kept: a language model would gather thousands of classes that led once."""
_NAMES = (
    "churn",
    "churn_cost",
    "turned",
    "turned_margin",
    "split",
    "consensus_doubt",
    "consensus_gap",
    "surprise",
    "surprise_soft",
    "divergence",
)


class Consensus:
    """The mean of the probabilities that each path end was given, the last third of the run counting most.

    The mean is what the model held for long (a temporal ensemble: Laine and Aila, "Temporal Ensembling for
    Semi-Supervised Learning", arXiv 1610.02242). A network that memorises wrong labels turns against it (Liu
    et al., "Early-Learning Regularization Prevents Memorization of Noisy Labels", arXiv 2007.00151), and
    where single states of a network disagree it generalizes worse (Jiang et al., "Assessing Generalization
    of SGD via Disagreement", arXiv 2106.13799).

    Probabilities are known of the leading classes; the others share the rest evenly. A class has a column
    from the first probe on in which it leads anywhere.

    Example:
        >>> from foldmon.warning.consensus import Consensus
        >>> consensus = Consensus()
        >>> def record(leading, shares):
        ...     return {"decision": {"of": 2, "leading": [leading], "probabilities": [shares]}}
        >>> _ = consensus.read(record([[0, 1], [1, 0]], [[0.9, 0.1], [0.8, 0.2]]))
        >>> consensus.read(record([[0, 1], [0, 1]], [[0.9, 0.1], [0.6, 0.4]]))["churn"]
        0.5
    """

    def __init__(self) -> None:
        self._probes = 0
        self._of = 0
        self._classes: list[int] = []
        # Shape (ends, columns + 1): probabilities, and in the last column that of each class without one.
        self._held: Floats = np.empty((0, 1))
        self._last: Floats = np.empty((0, 1))

    def read(self, record: Record) -> dict[str, float]:
        """The readings of a probe, and NaN without predictions or at the first probe.

        Returns:
            dict: "churn", the share of ends predicted otherwise than at the last probe, and "churn_cost",
            the mean Kullback-Leibler divergence (nats) of the predictions from the last ones; "turned",
            the share predicted against the consensus, and "turned_margin", its mean log odds over all
            ends; "split", one minus the mean leading share of the consensus; "consensus_doubt", its mean
            entropy (nats), and "consensus_gap", that less the predictions' own; "surprise" and
            "surprise_soft", the mean cost (nats) of its leading class and of itself under the
            predictions; "divergence", its Kullback-Leibler divergence from them.
        """
        now = self._take(record.get("decision") or {})
        if now is None:
            return dict.fromkeys(_NAMES, math.nan)
        if len(self._held) != len(now):
            readings, self._probes, self._held = dict.fromkeys(_NAMES, math.nan), 1, now
        else:
            readings = self._compare(now)
            self._probes += 1
            keep = 1 - 1 / max(2.0, self._probes / 3)
            self._held = keep * self._held + (1 - keep) * now
        self._last = now.copy()
        if len(self._classes) > _MOST_CLASSES:
            self._drop_columns()
        return readings

    def _take(self, decision: Record) -> Floats | None:
        """Probabilities of all ends by column; None where the record does not tell."""
        leading = np.asarray(decision.get("leading", ()), dtype=np.int64)
        shares = np.asarray(decision.get("probabilities", ()), dtype=np.float64)
        if leading.ndim != 3 or shares.shape != leading.shape or not np.isfinite(shares).all():
            return None
        of, kept = int(decision.get("of", 0)), leading.shape[2]
        if of != self._of or 2 * len(leading) != len(self._held):
            # Another set of classes or of inputs: what was held says nothing of them.
            self._of, self._classes = of, []
            self._held = self._last = np.empty((0, 1))
        self._make_columns(leading)
        leading, shares = leading.reshape(-1, kept), shares.reshape(-1, kept)
        rest = np.clip(1 - shares.sum(1), 0, 1) / max(of - kept, 1)
        now = np.repeat(rest[:, None], len(self._classes) + 1, axis=1)
        place = np.searchsorted(self._classes, leading)
        np.put_along_axis(now, place, shares, axis=1)
        return now

    def _make_columns(self, leading: Ints) -> None:
        known = np.array(self._classes, dtype=np.int64)
        classes = np.union1d(known, leading)
        if len(classes) == len(known):
            return
        # A class without a column had what every such class had: the last column.
        source = np.full(len(classes) + 1, len(known))
        source[np.searchsorted(classes, known)] = np.arange(len(known))
        self._classes = classes.tolist()
        self._held, self._last = self._held[:, source], self._last[:, source]

    def _drop_columns(self) -> None:
        """Keep the classes that matter most to any end; the others share what they had evenly."""
        weight = np.maximum(self._held, self._last)[:, :-1].max(0)
        dropped = np.sort(np.argsort(-weight)[_MOST_CLASSES:])
        without = self._of - len(self._classes)
        for shares in (self._held, self._last):
            shares[:, -1] = (without * shares[:, -1] + shares[:, dropped].sum(1)) / (without + len(dropped))
        self._held, self._last = (np.delete(shares, dropped, axis=1) for shares in (self._held, self._last))
        self._classes = np.delete(self._classes, dropped).tolist()

    def _compare(self, now: Floats) -> dict[str, float]:
        counts = np.ones(now.shape[1])
        counts[-1] = max(self._of - len(self._classes), 0)
        log_now, log_held, log_last = (np.log(p + _SMALL) for p in (now, self._held, self._last))
        own = now[:, :-1]
        predicted, leader = own.argmax(1), self._held[:, :-1].argmax(1)
        turned = predicted != leader
        margin = np.zeros(len(now))
        if own.shape[1] > 1:
            second, first = np.partition(log_now[:, :-1], -2, axis=1)[:, -2:].T
            margin = first - second
        doubt = float((-(now * log_now) @ counts).mean())
        held_doubt = float((-(self._held * log_held) @ counts).mean())
        soft = float((-(self._held * log_now) @ counts).mean())
        return {
            "churn": float((predicted != self._last[:, :-1].argmax(1)).mean()),
            "churn_cost": float(((self._last * (log_last - log_now)) @ counts).mean()),
            "turned": float(turned.mean()),
            "turned_margin": float((margin * turned).mean()),
            "split": float(1 - self._held[:, :-1].max(1).mean()),
            "consensus_doubt": held_doubt,
            "consensus_gap": held_doubt - doubt,
            "surprise": float(-log_now[np.arange(len(now)), leader].mean()),
            "surprise_soft": soft,
            "divergence": soft - held_doubt,
        }

    def state_dict(self) -> dict[str, Any]:
        """The whole state, as plain JSON values."""
        return {
            "probes": self._probes,
            "of": self._of,
            "classes": list(self._classes),
            "held": self._held.tolist(),
            "last": self._last.tolist(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state."""
        self._probes, self._of = int(state["probes"]), int(state["of"])
        self._classes = [int(number) for number in state["classes"]]
        shape = (-1, len(self._classes) + 1)
        self._held = np.array(state["held"], dtype=np.float64).reshape(shape)
        self._last = np.array(state["last"], dtype=np.float64).reshape(shape)
