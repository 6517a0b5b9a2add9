from __future__ import annotations

from foldmon.exporters.mlflow import metric_name
from foldmon.exporters.scalars import layer_tags, safe_name, scalars
from tests.exporters.examples import probe


def test_the_names_are_those_of_the_design():
    tags = scalars(probe(0))
    assert tags["folding/network"] == 0.02
    expected = {
        "folding_ci/network_lower", "folding_ci/network_upper", "folding/layer/01.block.1.relu",
        "folding/cumulative/02.block.2.relu", "folding/decision/changes", "folding/warning/level",
        "foldmon/overhead", "foldmon/probe_seconds", "foldmon/skipped", "val_loss",
    }  # fmt: skip
    assert expected <= set(tags)


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
