"""What makes a record unsound, in words that name it."""

from __future__ import annotations

import pytest

from foldmon.journal import check
from foldmon.journal.check import flaw
from tests.exporters.examples import held_out, probe, start


@pytest.fixture(autouse=True)
def _schemas_read_anew():
    check._looked_at.cache_clear()


def changed(record: dict, path: str, value) -> dict:
    """The record with another value at a path of keys."""
    head, _, rest = path.partition(".")
    return record | {head: changed(record[head], rest, value) if rest else value}


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("step", -1, "'step' is -1"),
        ("step", 2.5, "'step' is 2.5"),
        ("step", True, "'step' is True"),
        ("step", None, "'step' is None"),
        ("step", 2**63, "'step' is 9223372036854775808"),
        ("time_ms", "now", "'time_ms' is 'now'"),
        ("phi", "high", "'phi' is 'high'"),
        ("phi", True, "'phi' is True"),
        ("phi", -(2**64), "'phi' is -18446744073709551616"),
        ("phi_interval", [0.1], "'phi_interval' has not two ends"),
        ("phi_interval", [0.1, "b"], "'phi_interval' is [0.1, 'b']"),
        ("phi_interval", 3, "'phi_interval' is 3"),
        ("layers", ["a", 1, "c"], "'layers' is ['a', 1, 'c']"),
        ("folding", [0.1], "'folding' has 1 values for 3 layers"),
        ("cumulative", [0.1] * 4, "'cumulative' has 4 values for 3 layers"),
        ("decision", 5, "'decision' is 5"),
        ("decision.changes", [], "'changes' is []"),
        ("logged", {"loss": "low"}, "'logged' is {'loss': 'low'}"),
        ("logged", [1], "'logged' is [1]"),
        ("warning.level", 1.5, "'level' is 1.5"),
        ("warning.event", {"step": 1, "severity": 1}, "'reasons' is missing"),
        ("warning.event", {"step": 1, "severity": 1, "reasons": [3]}, "'reasons' is [3]"),
        ("monitor.overhead", "much", "'overhead' is 'much'"),
        ("monitor", None, "'monitor' is None"),
        ("held_out", held_out(loss_interval=[1.0]), "an interval of 'held_out' has not two ends"),
        ("held_out", held_out(accuracy="all"), "'accuracy' is 'all'"),
    ],
)
def test_a_wrong_value_is_named(path, value, said):
    assert flaw(changed(probe(0), path, value)) == said


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("step", 0), ("step", 2**63 - 1), ("phi", 1), ("phi", None), ("phi", 2**63 - 1),
        ("phi_interval", [None, 0.2]), ("decision", None), ("held_out", None), ("held_out", held_out()),
        ("held_out", held_out(loss=None, loss_interval=None)), ("logged", {}), ("logged", {"a": None}),
        ("something_new", {"any": ["thing"]}),
    ],
)  # fmt: skip
def test_what_may_be_is_sound(path, value):
    assert flaw(changed(probe(0), path, value)) is None


def test_every_required_key_is_missed_by_its_name():
    for key in (
        "step",
        "phi",
        "layers",
        "folding",
        "decision",
        "warning",
        "monitor",
        "logged",
        "seq",
        "time_ms",
    ):
        record = probe(0)
        del record[key]
        assert flaw(record) == f"'{key}' is missing"
    record = start()
    del record["model"]
    assert flaw(record) == "'model' is missing"
    assert flaw({"kind": "unknown", "seq": 1}) == "'time_ms' is missing"
    assert flaw({"kind": "unknown", "seq": 1, "time_ms": 2, "phi": "x"}) is None


def test_a_long_value_is_shortened_and_plain():
    assert flaw(changed(probe(0), "phi", "x" * 58)) == f"'phi' is '{'x' * 58}'"
    assert flaw(changed(probe(0), "phi", "x" * 59)) == f"'phi' is '{'x' * 56}..."
    assert flaw(changed(probe(0), "phi", "é\x1b")) == r"'phi' is '\xe9\x1b'"
