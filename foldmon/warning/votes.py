"""How far the predictions of held-out inputs still move, and away from what they were for long."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from foldmon.measure.statistics import Floats, Ints

Record = Mapping[str, Any]


class Votes:
    """The classes that each path end was predicted as, the last third of the run counting most.

    A prediction votes with its confidence. The class with most votes is what the model held for long (a
    temporal ensemble: Laine and Aila, "Temporal Ensembling for Semi-Supervised Learning", arXiv
    1610.02242); a network that memorises wrong labels turns against it (Liu et al., "Early-Learning
    Regularization Prevents Memorization of Noisy Labels", arXiv 2007.00151).

    Example:
        >>> from foldmon.warning.votes import Votes
        >>> votes = Votes()
        >>> _ = votes.read({"decision": {"ends": [[0, 1]], "confidence": [[0.9, 0.9]]}})
        >>> votes.read({"decision": {"ends": [[0, 2]], "confidence": [[0.9, 0.8]]}})["churn"]
        0.5
    """

    def __init__(self) -> None:
        self._probes = 0
        self._last: list[int] = []
        self._votes: list[dict[int, float]] = []

    def read(self, record: Record) -> dict[str, float]:
        """Readings of a probe: "churn" (share of ends predicted otherwise than at the last probe),
        "turned" (share against its votes), "turned_surely" (the same, weighted with confidence), "split"
        (share of votes outside the leading class), "surprise" (mean cost in nats of the leading class
        under the prediction). NaN without predictions, or at the first probe.
        """
        decision = record.get("decision") or {}
        ends = np.asarray(decision.get("ends", ()), dtype=np.int64).reshape(-1)
        given = np.asarray(decision.get("confidence", ()), dtype=np.float64).reshape(-1)
        confidence = np.nan_to_num(given) if len(given) == len(ends) else np.ones(len(ends))
        fresh = len(ends) != len(self._last)
        if fresh:
            self._votes = [{} for _ in ends]
        readings = dict.fromkeys(("churn", "turned", "turned_surely", "split", "surprise"), math.nan)
        if len(ends) and not fresh:
            readings = self._compare(ends, confidence)
        self._add(ends, confidence)
        return readings

    def _compare(self, ends: Ints, confidence: Floats) -> dict[str, float]:
        leading = np.array([max(votes, key=votes.__getitem__) for votes in self._votes])
        total = np.array([sum(votes.values()) for votes in self._votes])
        most = np.array([max(votes.values()) for votes in self._votes])
        turned = leading != ends
        # What a prediction gives to a class that it does not favour is at most the rest.
        given = np.where(turned, 1 - confidence + 1e-4, confidence + 1e-6)
        return {
            "churn": float((ends != np.array(self._last)).mean()),
            "turned": float(turned.mean()),
            "turned_surely": float((turned * confidence).mean()),
            "split": float(1 - np.divide(most, total, out=np.ones(len(ends)), where=total > 0).mean()),
            "surprise": float(-np.log(given).mean()),
        }

    def _add(self, ends: Ints, confidence: Floats) -> None:
        self._probes += 1
        keep = 1 - 1 / max(2.0, self._probes / 3)
        for votes, end, weight in zip(self._votes, ends.tolist(), confidence.tolist(), strict=True):
            for other in votes:
                votes[other] *= keep
            votes[end] = votes.get(end, 0.0) + weight
        self._last = ends.tolist()

    def state_dict(self) -> dict[str, Any]:
        """The whole state, as plain JSON values."""
        return {
            "probes": self._probes,
            "last": list(self._last),
            "votes": [[[end, weight] for end, weight in votes.items()] for votes in self._votes],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state."""
        self._probes = int(state["probes"])
        self._last = [int(end) for end in state["last"]]
        self._votes = [{int(end): float(weight) for end, weight in votes} for votes in state["votes"]]
