import json
import math

import numpy as np
import pytest
import torch
from torch import nn

import foldmon
from foldmon.warning.readings import read


def test_readings_of_a_report_are_all_known():
    net = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 3))
    report = foldmon.measure(net, (torch.randn(20, 4), torch.randn(20, 4)))
    readings = read({**report.to_dict(), "logged": {"loss": 1.0, "val_loss": 1.2}})
    assert all(math.isfinite(value) for value in readings.values())
    assert readings["phi"] == pytest.approx(math.log(report.phi + 1e-3))
    assert {"layer 1", "layer 3"} <= readings.keys()


def test_a_record_that_says_nothing_reads_as_nan():
    readings = read({"step": 0, "decision": None})
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


def test_entropy_of_the_predicted_classes_and_the_unsure_share():
    shares = [[[0.5, 0.5], [0.9, 0.1]], [[0.9, 0.1], [0.9, 0.1]]]
    decision = {"ends": [[0, 1], [0, 1]], "probabilities": shares, "entropy": [[0.5] * 2] * 2}
    readings = read({"decision": decision, "logged": {"loss": 0.25}})
    assert readings["classes"] == pytest.approx(math.log(2))
    assert readings["unsure"] == 0.25
    assert readings["doubt_over_loss"] == pytest.approx(math.log(0.51 / 0.26))
    assert readings["doubt_less_loss"] == pytest.approx(0.25)


def test_margins_are_log_odds_between_the_two_leading_classes():
    odds = np.exp(np.arange(1.0, 9.0))
    shares = np.stack([odds / (1 + odds), 1 / (1 + odds)], axis=1).reshape(4, 2, 2)
    readings = read({"decision": {"probabilities": shares.tolist()}})
    assert readings["margin"] == pytest.approx(math.log(4.5 + 1e-3), abs=1e-4)
    assert readings["low_margins"] == 0
    assert readings["margin_25"] == pytest.approx(2.75 / 4.5, abs=1e-4)
    sharp = np.where(np.arange(8).reshape(4, 2, 1) < 2, 0.5, shares)
    assert read({"decision": {"probabilities": sharp.tolist()}})["low_margins"] == 0.25
