import math
import re
import sys

import pytest
import torch
from matplotlib.collections import QuadMesh

import foldmon
from foldmon.views.notebook import history_html
from foldmon.views.plots import plot_comparison, plot_history
from tests.views import journals


def _curve(axes):
    return [float(value) for value in axes.lines[0].get_ydata()]


def test_the_figure_draws_the_journals_phi():
    records = journals.training(15, 4, memorises=True)
    figure = plot_history(records, title="noisy")
    phi, accuracy, decision, heat, loss, profile = figure.axes[:6]
    for axes, key in ((accuracy, "accuracy"), (loss, "loss")):
        assert _curve(axes) == [record["held_out"][key] for record in records[1:]]
        warned = next(r["step"] for r in records[1:] if r["warning"]["event"])
        assert [warned, warned] in [list(line.get_xdata()) for line in axes.lines]
    assert _curve(phi) == [record["phi"] for record in records[1:]]
    assert _curve(decision) == [record["decision"]["changes"] for record in records[1:]]
    assert [label.get_text() for label in heat.get_yticklabels()] == journals.layer_names(4)
    assert [line.get_label().split(",")[0] for line in profile.lines] == [
        "start", "best (highest held-out accuracy)", "latest"
    ]  # fmt: skip


def test_what_is_high_at_the_beginning_does_not_press_the_rest_flat():
    records = journals.rotating(100)
    later = max(r["phi_interval"][1] for r in records[1:] if r["step"] >= 110)
    phi, _, _, heat = plot_history(records).axes[:4]
    assert later < phi.get_ylim()[1] < 1.1 * later
    assert "↑ 0.5 at step 0" in [text.get_text() for text in phi.texts]
    assert heat.collections[0].norm.vmax < 0.2
    page = history_html(records)
    lowest = re.search(r'polyline points="([^"]+)"', page)[1].split()[-1]
    assert float(lowest.split(",")[1]) < 36
    assert "64 pairs" not in page
    assert "sampled, 5 of 64 pairs" in history_html(records[:-1])


def test_a_low_beginning_is_shown_whole():
    records = journals.training(15, 4)
    phi = plot_history(records).axes[0]
    assert phi.get_ylim()[1] >= max(record["phi_interval"][1] for record in records[1:])
    assert not phi.texts


def test_of_several_runs_the_highest_fits():
    low, high = journals.training(15, 2, plateau=0.02), journals.training(15, 2, plateau=0.2)
    for runs in ({"a": low, "b": high}, {"b": high, "a": low}):
        top = plot_comparison(runs).axes[0].get_ylim()[1]
        assert top >= max(record["phi_interval"][1] for record in high[1:])


def test_reports_of_a_measurement_can_be_drawn(mlp, held_out):
    pairs = foldmon.draw_pairs(held_out, 8)
    reports = [foldmon.measure(mlp, pairs) for _ in range(2)]
    records = [report.to_dict() | {"step": step} for step, report in enumerate(reports)]
    assert _curve(plot_history(records).axes[0]) == [report.phi for report in reports]
    assert f"{reports[-1].phi:.4f}" in history_html(records)
    assert torch.isfinite(torch.tensor(_curve(plot_history(records).axes[0]))).all()


def test_held_out_scores_stand_in_notebooks_where_they_are_known():
    records = journals.training(15, 4, memorises=True)
    page = history_html(records)
    last = records[-1]["held_out"]
    assert f"held-out accuracy {last['accuracy']:.1%}, loss {last['loss']:.4f}" in page
    assert page.count("<svg") == 3
    assert page.count("stroke-dasharray") == 3, "the warning is marked in each"
    without = [record | {"held_out": None} for record in records]
    assert history_html(without).count("<svg") == 1
    assert len(plot_history(without).axes) == 5, "four pictures and the scale of one"


def test_the_users_own_scores_are_drawn_beside_the_measured_ones():
    records = journals.training(15, 4)
    for record in records[3::2]:
        record["logged"] = {"val_accuracy": 80.0}
    accuracy = plot_history(records).axes[1]
    assert list(accuracy.lines[1].get_ydata()) == [0.8] * 7
    assert [text.get_text() for text in accuracy.get_legend().get_texts()] == ["measured", "logged by you"]


def test_a_gap_stays_a_gap():
    records = journals.training(4, 2)
    records[2] |= {"phi": math.nan, "phi_interval": [math.nan, math.nan]}
    assert math.isnan(_curve(plot_history(records).axes[0])[1])
    assert "<svg" in history_html(records)


def test_several_runs_share_a_figure():
    figure = plot_comparison({"a": journals.training(3, 2), "b": journals.training(3, 2, seed=1), "c": []})
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ["a", "b"]


def test_nothing_to_draw_says_so(monkeypatch):
    with pytest.raises(ValueError, match="no probe"):
        plot_history([journals.start()])
    assert "no probe has ended yet" in history_html([])
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r'pip install "foldmon\[plot\]"'):
        plot_history(journals.training(3, 2))


def test_a_notebook_shows_few_layers_and_escapes_what_it_shows():
    records = journals.training(3, 200, memorises=True)
    records[-1]["warning"] = {"level": 1, "event": {"step": 9, "severity": 1, "reasons": ["<b>up</b>"]}}
    page = history_html(records)
    assert page.count("<tr>") == 12
    assert "&lt;b&gt;up" in page
    records[-1] |= {"pairs": "<b>", "measured": [1]}
    assert "<b>" not in history_html(records).replace("<b>0", "")


@pytest.mark.parametrize("probes", [2, 5])
def test_the_last_column_of_layers_by_steps_is_as_wide_as_the_others(probes):
    records = journals.training(probes, 3, every=50)
    mesh = next(
        part for axes in plot_history(records).axes for part in axes.collections if isinstance(part, QuadMesh)
    )
    edges = mesh.get_coordinates()[0, :, 0]
    assert edges.tolist() == [50.0 * place for place in range(probes + 1)]
