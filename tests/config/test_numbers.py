"""Steps, and all options that are numbers, in whatever type they come."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch

import foldmon
from foldmon.config.options import NUMBERS, Config, checked
from tests.training_loop import train

KINDS = [
    np.int64,
    np.int32,
    np.uint8,
    np.float32,
    float,
    torch.tensor,
    lambda n: torch.tensor([float(n)]),
    np.array,
]
WHOLE = {"every": 3, "pairs": 8, "points": 9, "samples": 16, "seed": 5, "replica_limit": 100}


@pytest.mark.parametrize("kind", KINDS)
def test_every_whole_option_takes_every_kind_of_whole_number(kind):
    for name, value in WHOLE.items():
        taken = getattr(Config(**{name: kind(value)}), name)
        assert (type(taken), taken) == (int, value)
        assert checked(name, kind(value)) == value
    for name in ("budget", "allowance"):
        taken = getattr(Config(**{name: kind(1)}), name)
        assert (type(taken), taken) == (float, 1.0)
    assert {*WHOLE, "budget", "allowance"} == set(NUMBERS)


@pytest.mark.parametrize(
    "value",
    [2.5, float("nan"), float("inf"), True, np.True_, torch.tensor(True), "many", [3], np.array([1, 2]), 3j],
)
def test_what_is_no_whole_number_is_refused_by_name(value):
    for name in WHOLE:
        with pytest.raises(ValueError, match=f"^{name} must be"):
            checked(name, value)


def test_text_of_a_file_or_the_environment_is_read_as_a_number():
    assert checked("pairs", "1e2") == 100
    assert checked("budget", "1e-3") == 0.001


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("background", [True, False])
def test_a_run_with_numbers_of_any_kind(mlp, held_out, tmp_path, kind, background):
    options = {name: kind(value) for name, value in WHOLE.items() if name != "replica_limit"}
    monitor = foldmon.watch(
        mlp, held_out, step=kind(4), exporters=[], log_dir=tmp_path, background=background, **options
    )
    for step in (6, 7, 12):
        monitor.step(kind(step))
        assert monitor.flush()
    monitor.step(Fraction(13))
    monitor.close(timeout=kind(30))
    assert [report.step for report in monitor.history] == [6, 12, 13]
    assert type(monitor.steps) is int
    assert len(monitor.report.r1) == 8


@pytest.mark.parametrize("step", [None, "six", 2.5, [3], True])
def test_a_step_that_is_none_is_refused_in_words(mlp, held_out, tmp_path, step):
    with pytest.raises(TypeError, match="step must be a whole number"):
        foldmon.watch(mlp, held_out, step=step, exporters=[], log_dir=tmp_path)
    monitor = foldmon.watch(mlp, held_out, exporters=[], log_dir=tmp_path)
    if step is not None:
        with pytest.raises(TypeError, match="must be a whole number"):
            monitor.step(step)
    train(mlp, 1)
    monitor.close()


@pytest.mark.parametrize("kind", KINDS)
def test_a_measurement_takes_them_too(mlp, held_out, kind):
    pairs = foldmon.draw_pairs(held_out, kind(8), seed=kind(1))
    plain = foldmon.draw_pairs(held_out, 8, seed=1)
    assert torch.equal(pairs.first, plain.first)
    options = {"method": "sampled", "points": kind(9), "chunk": kind(16)}
    assert (
        foldmon.measure(mlp, pairs, **options).phi
        == foldmon.measure(mlp, plain, method="sampled", points=9).phi
    )
    foldmon.measure(mlp, pairs, method="exact", max_evaluations=kind(100))


def test_closing_raises_nothing(mlp, held_out, tmp_path, monkeypatch, caplog):
    """Whatever the journal or an exporter meets."""
    monitor = foldmon.watch(mlp, held_out, exporters=[], log_dir=tmp_path)

    def broken(*arguments):
        raise TypeError("an array is no value of JSON")

    monkeypatch.setattr("foldmon.journal.writing.json_text", broken)
    train(mlp, 2)
    monitor.close()
    assert "left out of the journal" in caplog.text
