"""The consensus against the plain mean of whole probability vectors."""

import json
import math

import numpy as np
import pytest

from foldmon.warning import consensus as module
from foldmon.warning.consensus import Consensus

KEPT = 4


def _record(shares):
    """A probe that keeps the leading classes of probabilities of shape (P, 2, C)."""
    order = np.argsort(-shares, axis=-1)[..., :KEPT]
    kept = np.take_along_axis(shares, order, -1)
    return {"decision": {"leading": order.tolist(), "probabilities": kept.tolist(), "of": shares.shape[-1]}}


def _predictions(probes, classes, seed=0, paths=6):
    """Softmax outputs that wander."""
    rng = np.random.default_rng(seed)
    logits = np.cumsum(rng.normal(size=(probes, paths, 2, classes)), axis=0)
    shares = np.exp(logits - logits.max(-1, keepdims=True))
    return shares / shares.sum(-1, keepdims=True)


def _as_kept(shares):
    """The same where the classes beyond the leading ones share the rest evenly."""
    order = np.argsort(-shares, axis=-1)
    out = shares.copy()
    if shares.shape[-1] > KEPT:
        rest = order[..., KEPT:]
        even = np.take_along_axis(shares, rest, -1).mean(-1, keepdims=True)
        np.put_along_axis(out, rest, np.broadcast_to(even, rest.shape), -1)
    return out.reshape(-1, shares.shape[-1])


def _expected(history, now):
    """Every reading as it is defined, over whole vectors."""
    held = history[0]
    for number, shares in enumerate(history[1:], start=2):
        keep = 1 - 1 / max(2.0, number / 3)
        held = keep * held + (1 - keep) * shares
    last, rows = history[-1], np.arange(len(now))

    def log(p):
        return np.log(p + 1e-12)

    top = np.sort(log(now), axis=1)
    turned = held.argmax(1) != now.argmax(1)
    doubt, held_doubt = -(now * log(now)).sum(1).mean(), -(held * log(held)).sum(1).mean()
    soft = -(held * log(now)).sum(1).mean()
    return {
        "churn": (last.argmax(1) != now.argmax(1)).mean(),
        "churn_cost": (last * (log(last) - log(now))).sum(1).mean(),
        "turned": turned.mean(),
        "turned_margin": (turned * (top[:, -1] - top[:, -2])).mean(),
        "split": 1 - held.max(1).mean(),
        "consensus_doubt": held_doubt,
        "consensus_gap": held_doubt - doubt,
        "surprise": -log(now)[rows, held.argmax(1)].mean(),
        "surprise_soft": soft,
        "divergence": soft - held_doubt,
    }


@pytest.mark.parametrize("classes", [2, 3, 4, 5, 12, 40])
def test_readings_are_those_of_whole_probability_vectors(classes):
    predictions = _predictions(12, classes)
    whole = [_as_kept(shares) for shares in predictions]
    consensus = Consensus()
    assert all(math.isnan(value) for value in consensus.read(_record(predictions[0])).values())
    for probe in range(1, len(predictions)):
        found = consensus.read(_record(predictions[probe]))
        expected = _expected(whole[:probe], whole[probe])
        assert found == pytest.approx(expected, abs=1e-9), probe


def test_predictions_that_turn_against_what_was_held_for_long_cost_much():
    steady = np.tile([0.9, 0.05, 0.05], (1, 2, 1))
    consensus = Consensus()
    for _ in range(12):
        calm = consensus.read(_record(steady))
    assert calm["turned"] == calm["churn"] == calm["turned_margin"] == 0
    turned = consensus.read(_record(steady[..., [1, 0, 2]]))
    assert turned["turned"] == turned["churn"] == 1
    assert turned["surprise"] > 25 * calm["surprise"]


def test_missing_ends_are_left_out_and_other_inputs_start_anew():
    predictions = _predictions(3, 3)
    consensus = Consensus()
    consensus.read(_record(predictions[0]))
    assert math.isnan(consensus.read({"decision": None})["turned"])
    assert math.isfinite(consensus.read(_record(predictions[1]))["turned"])
    assert math.isnan(consensus.read(_record(_predictions(1, 3, paths=7)[0]))["turned"])
    assert math.isnan(consensus.read(_record(_predictions(1, 5, paths=7)[0]))["turned"])


def test_memory_stays_bounded_with_very_many_classes(monkeypatch):
    monkeypatch.setattr(module, "_MOST_CLASSES", 30)
    predictions = _predictions(20, 500)
    bounded = Consensus()
    bounded.read(_record(predictions[0]))
    for shares in predictions[1:]:
        readings = bounded.read(_record(shares))
        assert all(math.isfinite(value) for value in readings.values())
    state = bounded.state_dict()
    assert len(state["classes"]) == 30
    mass = np.array(state["held"]) @ ([1.0] * 30 + [470.0])
    assert mass == pytest.approx(1.0)


def test_the_consensus_goes_on_from_a_saved_state():
    records = [_record(shares) for shares in _predictions(12, 9)]
    whole, first, second = Consensus(), Consensus(), Consensus()
    for record in records[:6]:
        whole.read(record), first.read(record)
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    for record in records[6:]:
        assert second.read(record) == whole.read(record)
    fresh = Consensus()
    fresh.load_state_dict(json.loads(json.dumps(Consensus().state_dict())))
    assert math.isnan(fresh.read(records[0])["churn"])
