import math

from foldmon.exporters.charts import Charts, shown_layers


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


def _probes(*foldings):
    return [
        {"kind": "probe", "seq": seq, "layers": list(folding), "folding": list(folding.values())}
        for seq, folding in enumerate(foldings, start=1)
    ]


DEEP = _probes(*({"a": 0.1 * n, "b": 0.0, "c": 0.9 * (n == 9)} for n in range(10)))


def _shown(records, charts=None):
    charts = charts or Charts(limit=1)
    return [charts.of(record) for record in records]


def test_a_record_that_is_offered_again_does_not_count_twice():
    retried = [DEEP[0]] * 4 + DEEP
    assert _shown(retried)[4:] == _shown(DEEP) == [()] * 3 + [("a",)] * 7
    assert _shown(DEEP + DEEP) == _shown(DEEP) * 2, "an older record has what it had"


def test_a_resumed_run_keeps_its_charts():
    charts = Charts(limit=1)
    charts.recall(DEEP[:6])
    assert _shown(DEEP[6:], charts) == _shown(DEEP)[6:]
    # On its own the rest of the run would have chosen otherwise.
    assert _shown(DEEP[6:])[-1] == ("c",)


def test_a_run_resumed_before_the_choice_chooses_as_an_unbroken_one():
    charts = Charts(limit=1)
    charts.recall(DEEP[:2])
    assert _shown(DEEP[2:], charts) == _shown(DEEP)[2:]


def test_recalling_reads_no_further_than_it_must():
    read = []

    def records():
        for record in DEEP:
            read.append(record)
            yield record

    Charts(limit=1).recall(records())
    assert len(read) == 4
    read.clear()
    Charts(limit=3).recall(records())
    assert len(read) == 1, "a small model shows all"


def test_another_model_in_the_same_journal_has_charts_of_its_own():
    others = _probes(*({"x": 0.0, "y": 0.1 * n} for n in range(14)))[10:]
    assert _shown(DEEP + others)[10:] == [(), (), (), ("y",)]
