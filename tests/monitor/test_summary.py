from __future__ import annotations

import numpy as np

import foldmon
from foldmon.folding.model.prober import Prober
from foldmon.folding.sampled.report import measure_sampled
from foldmon.monitor.summary import report_table
from foldmon.sampling.rotation import Rotation


def test_of_a_share_the_summary_says_what_is_estimated_and_of_how_many(mlp, held_out):
    pairs = foldmon.draw_pairs(held_out, 12)
    found = measure_sampled(Prober(mlp, pairs), 9, np.array([3, 5]))
    text = report_table(Rotation(pairs, 9, seed=0).taken_in(found, step=7))
    assert "estimates for all 12 pairs, which take turns; dead units are of the 2 of this turn" in text
    assert "which take turns" not in report_table(foldmon.measure(mlp, pairs, points=9))


def test_the_latest_warning_is_the_first_thing_said(mlp, held_out, tmp_path):
    monitor = foldmon.watch(mlp, held_out, exporters=[], log_dir=tmp_path)
    assert "WARNING" not in monitor.summary()
    for step in (30, 1200):
        monitor._alarm.warnings.append(foldmon.FoldingWarning(step, 1, (f"It fell at {step}.", "a number")))
    first = monitor.summary().splitlines()[0]
    assert first == "WARNING at step 1,200 (2 warnings so far): It fell at 1200. a number"
    monitor.close()
