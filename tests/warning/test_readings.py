import json
import math

import numpy as np
import pytest
import torch
from torch import nn

import foldmon
from foldmon.warning.readings import read
from foldmon.warning.votes import Votes


def test_readings_of_a_report_are_all_known():
    net = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 3))
    report = foldmon.measure(net, (torch.randn(20, 4), torch.randn(20, 4)))
    readings = read({**report.to_dict(), "logged": {"loss": 1.0, "val_loss": 1.2}})
    assert all(math.isfinite(readings[name]) for name in readings if name != "within_between")
    assert readings["phi"] == pytest.approx(math.log(report.phi + 1e-3))
    assert {"layer 1", "layer 3"} <= readings.keys()


def test_a_record_that_says_nothing_reads_as_nan():
    readings = read({"step": 0, "decision": None})
    assert readings.pop("nonfinite") == 0
    assert all(math.isnan(value) for value in readings.values())


def test_nan_in_a_journal_line_reads_as_nan():
    record = json.loads('{"phi": NaN, "folding": [NaN], "layers": ["a"], "logged": {"loss": NaN}}')
    readings = read(record)
    assert math.isnan(readings["phi"])
    assert math.isnan(readings["layer a"])
    assert math.isnan(readings["loss"])


def test_changes_count_only_those_beyond_the_needed_one():
    decision = {"changes": 1.5, "ends": [[0, 1], [2, 2]]}
    assert read({"decision": decision})["changes"] == pytest.approx(1.0)


def test_within_against_between_predicted_classes():
    ends = [[0, 0]] * 4 + [[0, 1]] * 4
    record = {"network_r1": [1] * 8, "network_r2": [10] * 4 + [40] * 4, "decision": {"ends": ends}}
    assert read(record)["within_between"] == pytest.approx(math.log(10.1 / 40.1))


def test_entropy_of_the_predicted_classes_and_the_unsure_share():
    decision = {"ends": [[0, 1], [0, 1]], "confidence": [[0.5, 0.9], [0.9, 0.9]], "entropy": [[0.5] * 2] * 2}
    readings = read({"decision": decision, "logged": {"loss": 0.25}})
    assert readings["classes"] == pytest.approx(math.log(2))
    assert readings["unsure"] == 0.25
    assert readings["doubt_over_loss"] == pytest.approx(math.log(0.51 / 0.26))


def test_depth_profile():
    readings = read({"cumulative": [0.0, 0.1, 0.05, 0.2], "folding": [0.0, 0.2, 0.1, 0.3]})
    assert readings["profile"] == pytest.approx(0.2)
    assert readings["order"] == pytest.approx(2 / 3)
    assert readings["last_layer"] == pytest.approx(math.log(0.301))


def _decision(ends, confidence):
    return {"decision": {"ends": ends, "confidence": confidence}}


def test_votes_tell_predictions_that_turn_against_what_was_held_for_long():
    votes = Votes()
    assert math.isnan(votes.read(_decision([[0, 1]], [[0.9, 0.9]]))["churn"])
    for _ in range(5):
        steady = votes.read(_decision([[0, 1]], [[0.9, 0.9]]))
    assert (steady["churn"], steady["turned"], steady["split"]) == (0, 0, 0)
    assert steady["surprise"] == pytest.approx(-math.log(0.9), abs=1e-4)
    turned = votes.read(_decision([[0, 2]], [[0.9, 0.8]]))
    assert (turned["churn"], turned["turned"]) == (0.5, 0.5)
    assert turned["turned_surely"] == pytest.approx(0.4)
    assert turned["surprise"] > steady["surprise"]


def test_votes_start_anew_where_the_pairs_change_and_stand_missing_ends():
    votes = Votes()
    votes.read(_decision([[0, 1]], [[1, 1]]))
    assert math.isnan(votes.read(_decision([[0, 1], [1, 1]], [[1, 1], [1, 1]]))["turned"])
    assert math.isnan(votes.read({"decision": None})["turned"])
    assert math.isnan(votes.read(_decision([[0, 1]], [[math.nan, 1]]))["turned"])
    assert votes.read(_decision([[0, 1]], [[math.nan, 1]]))["turned"] == 0


def test_votes_go_on_from_a_saved_state():
    generator = np.random.default_rng(0)
    lines = [_decision(generator.integers(3, size=(6, 2)).tolist(), [[0.8, 0.7]] * 6) for _ in range(12)]
    whole, first, second = Votes(), Votes(), Votes()
    for line in lines[:6]:
        whole.read(line), first.read(line)
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    for line in lines[6:]:
        assert second.read(line) == whole.read(line)
