from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from foldmon.exporters.scalars import scalars
from foldmon.journal.check import flaw
from foldmon.journal.following import read_journal
from foldmon.journal.plain import json_text
from foldmon.journal.writing import JSONLExporter
from tests.exporters.examples import probe

NAN, INF = float("nan"), float("inf")


def strict(text: str):
    """Parsed as by a reader that knows no NaN."""

    def refuse(name):
        raise AssertionError(f"{name} is no JSON")

    return json.loads(text, parse_constant=refuse)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ([NAN, INF, -INF, 1.5], [None, None, None, 1.5]),
        ({"NaN": "Infinity", "a": [[NAN], {"b": -INF}]}, {"NaN": "Infinity", "a": [[None], {"b": None}]}),
        (['"NaN,', "\\", NAN, 'a\\"-Infinity'], ['"NaN,', "\\", None, 'a\\"-Infinity']),
        ([np.int64(3), np.float64(NAN), torch.tensor(2), np.bool_(True)], [3, None, 2, True]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("layout", [{}, {"separators": (",", ":")}, {"indent": 2}])
def test_every_json_reader_takes_it(value, expected, layout):
    assert strict(json_text(value, **layout)) == expected


def test_what_is_no_value_is_refused():
    with pytest.raises(TypeError, match="a set is no value of JSON"):
        json_text({"a": {1, 2}})


def test_a_journal_of_numbers_that_are_not_finite_is_json_and_reaches_backends_as_nan(tmp_path):
    record = probe(0) | {"phi": NAN, "phi_interval": [NAN, INF], "logged": {"val_loss": NAN}}
    record["folding"] = [NAN] * 3
    journal = JSONLExporter(tmp_path / "journal.jsonl")
    journal.write([record])
    journal.close()
    strict(journal.path.read_text())
    [read] = read_journal(journal.path)
    assert flaw(read) is None
    values = scalars(read)
    for name in ("folding/network", "folding_ci/network_upper", "folding/layer/00.block.0.relu", "val_loss"):
        assert np.isnan(values[name])


def test_an_older_journal_with_nan_is_read(tmp_path):
    (tmp_path / "journal.jsonl").write_text(json.dumps(probe(0) | {"phi": NAN}) + "\n")
    [read] = read_journal(tmp_path / "journal.jsonl")
    assert flaw(read) is None
    assert np.isnan(scalars(read)["folding/network"])
