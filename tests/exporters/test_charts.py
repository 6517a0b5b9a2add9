import math

from foldmon.exporters.charts import shown_layers


def _record(**folding):
    return {"layers": list(folding), "folding": list(folding.values())}


def test_a_small_model_shows_all_its_layers():
    record = _record(a=0.1, b=0.2)
    assert shown_layers(record, record) == ("a", "b")


def test_a_deep_model_shows_the_layers_that_changed_most_in_order_of_depth():
    first = {"layers": [f"l{i}" for i in range(200)], "folding": [0.0] * 200}
    latest = first | {"folding": [float(i % 50 == 7) * (i + 1) for i in range(200)]}
    assert shown_layers(first, latest, limit=3) == ("l57", "l107", "l157")
    assert len(shown_layers(first, latest)) == 12


def test_a_fall_counts_as_a_rise_does():
    assert shown_layers(_record(a=0.5, b=0.1, c=0.2), _record(a=0.1, b=0.1, c=0.3), limit=1) == ("a",)


def test_of_equal_changes_the_deeper_layers_count():
    record = _record(a=0.1, b=0.1, c=0.1)
    assert shown_layers(record, record, limit=2) == ("b", "c")


def test_what_is_not_a_number_counts_as_no_change():
    assert shown_layers(_record(a=0.0, b=math.nan), _record(a=0.1, b=0.9), limit=1) == ("a",)
