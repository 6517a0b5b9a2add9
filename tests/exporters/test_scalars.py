from __future__ import annotations

from foldmon.exporters.mlflow import metric_name
from foldmon.exporters.scalars import layer_tags, safe_name, scalars
from tests.exporters.examples import held_out, probe


def test_the_names_are_those_of_the_design():
    tags = scalars(probe(0))
    assert tags["folding/network"] == 0.02
    expected = {
        "folding_ci/network_lower", "folding_ci/network_upper", "folding/layer/01.block.1.relu",
        "folding/cumulative/02.block.2.relu", "folding/decision/changes", "folding/warning/level",
        "foldmon/overhead", "foldmon/probe_seconds", "foldmon/skipped", "val_loss",
    }  # fmt: skip
    assert expected <= set(tags)


def test_held_out_loss_and_accuracy_have_names_of_their_own():
    values = scalars(probe(0) | {"held_out": held_out()})
    found = {tag: value for tag, value in values.items() if tag.startswith("heldout")}
    assert found == {
        "heldout/loss": 0.31, "heldout_ci/loss_lower": 0.25, "heldout_ci/loss_upper": 0.4,
        "heldout/accuracy": 0.9, "heldout_ci/accuracy_lower": 0.87, "heldout_ci/accuracy_upper": 0.92,
    }  # fmt: skip
    unknown = dict.fromkeys(("loss", "loss_interval", "accuracy", "accuracy_interval"))
    for entry in (None, held_out(**unknown)):
        assert scalars(probe(0) | {"held_out": entry}) == scalars(probe(0))


def test_names_cannot_climb_out_of_a_tag():
    for name in ("../../etc/passwd", "a\x00b\n", "x" * 5000, "..", "/"):
        safe = safe_name(name)
        assert "/" not in safe
        assert ".." not in safe
        assert safe.isprintable()
        assert 0 < len(safe) <= 120


def test_layers_that_look_alike_stay_apart():
    tags = layer_tags(["a/b", "a_b", "a b"])
    assert len(set(tags)) == 3
    assert len({metric_name(f"folding/layer/{tag}") for tag in tags}) == 3


def test_tags_sort_in_order_of_depth():
    tags = layer_tags([f"layer{place}" for place in range(150)])
    assert tags == sorted(tags)
