"""Readings that only the benchmark of warnings compares."""

import math

import pytest
import torch
from torch import nn

import foldmon
from foldmon.warning import readings as shipped
from foldmon.warning.consensus import Consensus
from foldmon.warning.forest import tuned
from tests.benchmarks.warnings.readings import read


def test_the_product_reads_no_more_than_its_forests_use():
    used = {name for forest in tuned().values() for name in forest.readings}
    nothing = {"decision": None}
    assert used | {"val_loss"} == shipped.read(nothing).keys() | Consensus().read(nothing).keys()


def test_readings_of_a_report_are_all_known_and_hold_the_shipped_ones():
    net = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 3))
    report = foldmon.measure(net, (torch.randn(20, 4), torch.randn(20, 4)))
    record = {**report.to_dict(), "logged": {"loss": 1.0, "val_loss": 1.2}}
    readings = read(record)
    assert all(math.isfinite(readings[name]) for name in readings if name != "within_between")
    assert readings.items() > shipped.read(record).items()


def test_a_record_that_says_nothing_reads_as_nan():
    readings = read({"step": 0, "decision": None})
    assert readings.pop("nonfinite") == 0
    assert all(math.isnan(value) for value in readings.values())


def test_within_against_between_predicted_classes():
    ends = [[0, 0]] * 4 + [[0, 1]] * 4
    record = {"network_r1": [1] * 8, "network_r2": [10] * 4 + [40] * 4, "decision": {"ends": ends}}
    assert read(record)["within_between"] == pytest.approx(math.log(10.1 / 40.1))


def test_depth_profile():
    readings = read({"cumulative": [0.0, 0.1, 0.05, 0.2], "folding": [0.0, 0.2, 0.1, 0.3]})
    assert readings["profile"] == pytest.approx(0.2)
    assert readings["order"] == pytest.approx(2 / 3)
    assert readings["last_layer"] == pytest.approx(math.log(0.301))
