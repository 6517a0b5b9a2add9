import base64
import json
import math
import time
from itertools import pairwise

import numpy as np
import pytest

from foldmon.views.run.best import best_of, best_probe
from foldmon.views.run.reading import Run
from foldmon.views.run.rows import Rows, readable
from foldmon.views.run.undrawn import UNDRAWN
from tests.exporters.examples import held_out
from tests.views import journals


def _row(step, index, event=None):
    probe = journals.training(1, 2)[1] | {"step": step}
    probe["warning"] = {"level": 0, "event": event}
    return readable(probe, index=index)


def _run(path):
    run = Run(path, "run", "run")
    run.refresh()
    return run


def _matrix(payload, name):
    values = np.frombuffer(base64.b64decode(payload[name]), "<f4")
    return values.reshape(len(payload["columns"]["step"]), len(payload["layers"]))


def test_thinning_keeps_the_order_the_first_the_latest_and_the_warnings():
    rows = Rows(most=50)
    event = {"step": 77, "severity": 1, "reasons": []}
    for step in range(1000):
        rows.add(_row(step, step, event if step == 77 else None))
    steps = [row.step for row in rows.kept]
    assert steps == sorted(set(steps))
    assert steps[0] == 0
    assert steps[-1] == 999
    assert 77 in steps
    assert len(steps) <= 51
    assert rows.total == 1000
    gaps = {b - a for a, b in pairwise(steps)}
    assert max(gaps) == rows.stride


def test_a_resumed_training_replaces_what_it_measures_again():
    rows = Rows()
    for index, step in enumerate([0, 10, 20, 30, 15, 25]):
        rows.add(_row(step, index))
    assert [row.step for row in rows.kept] == [0, 10, 15, 25]


@pytest.mark.parametrize("most", [2000, 8])
def test_pieces_put_together_are_the_whole(tmp_path, most):
    """The page keeps ``stable`` rows of what it has and appends; it must end with what a new page gets."""
    path = tmp_path / "journal.jsonl"
    records = journals.training(30, 3)
    run = Run(path, "run", "run")
    run.rows = Rows(most)
    steps, version, stable = [], -1, 0
    for end in range(1, len(records) + 1):
        journals.write(path, records[:end])
        run.refresh()
        piece = json.loads(json.dumps(run.payload(version, stable), allow_nan=False))
        steps = steps[: piece["from"]] + piece["columns"]["step"]
        version, stable = piece["version"], piece["stable"]
    assert steps == run.payload()["columns"]["step"]


def test_the_payload_holds_the_journals_numbers(tmp_path):
    records = journals.training(20, 5, memorises=True)
    payload = _run(journals.write(tmp_path / "journal.jsonl", records)).payload()
    probes = records[1:]
    assert payload["columns"]["phi"] == [probe["phi"] for probe in probes]
    assert payload["columns"]["lower"] == [probe["phi_interval"][0] for probe in probes]
    assert payload["columns"]["changes"] == [probe["decision"]["changes"] for probe in probes]
    np.testing.assert_array_equal(_matrix(payload, "folding"), np.float32([p["folding"] for p in probes]))
    np.testing.assert_array_equal(
        _matrix(payload, "cumulative"), np.float32([p["cumulative"] for p in probes])
    )
    (warning,) = payload["warnings"]
    assert warning["step"] == next(p["step"] for p in probes if p["warning"]["event"])
    assert payload["state"] == "running"


def test_a_run_of_shares_tells_how_many_pairs_stand_behind_a_point(tmp_path):
    payload = _run(journals.write(tmp_path / "journal.jsonl", journals.rotating(30))).payload()
    assert payload["columns"]["measured"] == [5] * 29 + [64]
    assert payload["columns"]["pairs"] == [64] * 30


def test_an_older_record_measured_all_pairs_of_which_it_has_paths():
    record = journals.training(1, 2)[1]
    row = readable(record)
    assert (row.values["measured"], row.values["pairs"], row.shared) == (64, 64, False)
    del record["network_r1"]
    assert (readable(record).values["measured"], readable(record).shared) == (None, False)


def test_rows_are_the_same_without_what_no_curve_is_made_of(tmp_path):
    for separators in ((",", ":"), (", ", ": ")):
        for record in journals.rotating(3, 6)[1:]:
            record["logged"] = {"r1": 0.5, "entropy": 2.0}
            record["notes"] = ['said "path_r1": [1, 2], and more', "ends"]
            line = json.dumps(record, separators=separators).encode()
            kept = json.loads(UNDRAWN.sub(b'"":0', line))
            whole, short = readable(record), readable(kept)
            assert short.values == whole.values
            assert short.logged == whole.logged
            assert kept["notes"] == record["notes"]
            np.testing.assert_array_equal(short.cumulative, whole.cumulative)
            assert not {"path_r1", "path_r2", "path_r1_cumulative", "class_matrix", "r1"} & set(kept)
            assert set(kept["decision"]) == {"changes", "elsewhere", ""}


def test_a_line_of_many_paths_and_layers_is_short_before_it_is_parsed():
    record = journals.rotating(2, 200)[2]
    line = json.dumps(record, separators=(",", ":")).encode()
    assert len(line) > 150_000
    assert len(UNDRAWN.sub(b'"":0', line)) < len(line) / 10


@pytest.mark.parametrize(
    "line",
    [b'{"r1":' + b"[" * 10**6, b'{"r1":[' + b"]" * 10**6, b'"r1":[]x' * 10**5, b'{"path_r1":[[1],[2' * 10**5],
)
def test_a_damaged_line_takes_no_longer(line):
    began = time.perf_counter()
    UNDRAWN.sub(b'"":0', line)
    assert time.perf_counter() - began < 2


def test_what_is_not_a_number_reaches_the_page_as_nothing(tmp_path):
    records = journals.training(2, 2)
    records[1] |= {"phi_interval": [math.nan, math.inf], "folding": [math.nan, 0.5], "decision": None}
    payload = _run(journals.write(tmp_path / "journal.jsonl", records)).payload()
    json.dumps(payload, allow_nan=False)
    assert payload["columns"]["lower"][0] is payload["columns"]["upper"][0] is None
    assert payload["columns"]["changes"][0] is None
    np.testing.assert_array_equal(_matrix(payload, "folding")[0], np.float32([math.nan, 0.5]))


def test_held_out_numbers_have_columns_of_their_own():
    columns = ("loss", "loss_lower", "loss_upper", "accuracy", "accuracy_lower", "accuracy_upper")
    record = journals.training(1, 2)[1]
    unknown = dict.fromkeys(("loss", "loss_interval", "accuracy", "accuracy_interval"))
    for entry, expected in (
        (held_out(), [0.31, 0.25, 0.4, 0.9, 0.87, 0.92]),
        (held_out(**unknown), [None] * 6),
        (None, [None] * 6),
    ):
        values = readable(record | {"held_out": entry}).values
        assert [values[f"heldout_{name}"] for name in columns] == expected
    del record["held_out"]
    assert readable(record).values["heldout_loss"] is None, "an older journal has none"
    assert readable(record | {"held_out": "nonsense"}) is None


def test_layers_that_come_later_are_missing_before(tmp_path):
    records = journals.training(2, 3)
    for name in ("layers", "folding", "cumulative"):
        records[1][name] = records[1][name][1:]
    payload = _run(journals.write(tmp_path / "journal.jsonl", records)).payload()
    first = _matrix(payload, "folding")[0]
    assert math.isnan(first[0])
    np.testing.assert_array_equal(first[1:], np.float32(records[1]["folding"]))


@pytest.mark.parametrize(
    ("text", "state", "why"),
    [
        ("", "empty", "has not written its first line"),
        (json.dumps(journals.start()) + "\n", "waiting", "No probe yet"),
        ("some notes\nof mine\n", "empty", "no record of foldmon's"),
        ('{"kind": "probe", "seq": 1, "step": 0}\n', "empty", "another version"),
        ('{"kind": "letter"}\n', "empty", "Is it a journal"),
    ],
)
def test_a_run_that_cannot_be_shown_says_why(tmp_path, text, state, why):
    path = tmp_path / "journal.jsonl"
    path.write_text(text)
    payload = _run(path).payload()
    assert payload["state"] == state
    assert why in " ".join(payload["problems"])


def test_a_journal_that_went_away_says_so(tmp_path):
    run = Run(tmp_path / "none.jsonl", "run", "run")
    assert run.refresh()
    assert run.payload()["state"] == "broken"
    assert "No such file" in run.payload()["problems"][0]


def test_a_damaged_line_is_told_and_the_rest_shown(tmp_path):
    records = journals.training(3, 2)
    path = journals.write(tmp_path / "journal.jsonl", records[:2], torn='{"kind": "pr\n')
    with path.open("a") as file:
        file.write(json.dumps(records[3]) + "\n")
    payload = _run(path).payload()
    assert payload["columns"]["step"] == [records[1]["step"], records[3]["step"]]
    assert "1 line of the journal cannot be read" in payload["problems"][0]


def test_an_end_ends_and_a_resumed_run_runs_again(tmp_path):
    records = journals.training(3, 2)
    path = journals.write(tmp_path / "journal.jsonl", [*records, journals.end(records)])
    run = _run(path)
    assert run.payload()["state"] == "ended"
    with path.open("a") as file:
        file.write(json.dumps(records[0]) + "\n")
    run.refresh()
    assert run.payload()["state"] == "running"


def test_a_whole_probe_is_found_by_its_number(tmp_path):
    records = journals.training(5, 2)
    run = _run(journals.write(tmp_path / "journal.jsonl", records))
    assert run.probe(3)["class_names"] == records[3]["class_names"]
    assert run.probe(3)["folding"] == records[3]["folding"]
    assert run.probe(99) is None


def test_without_a_score_the_first_tenth_of_the_steps_is_no_best_probe():
    steps = [*range(50), *range(50, 1000, 50)]
    changes = [0.0] * 50 + [1.0] * 10 + [0.9] + [1.1] * 8
    assert best_probe(steps, [{}] * 69, changes) == (60, "least decision folding")


def test_without_a_score_of_the_users_own_the_best_probe_is_the_warnings():
    records = journals.training(30, 3, memorises=True)
    for record in records[1:]:
        record["warning"]["best_step"] = min(record["step"], 350)
    rows = [readable(record) for record in records[1:]]
    assert best_of(rows) == (7, "best held-out score")
    for record in records[1:]:
        record["warning"]["best_step"] = None  # without labels
        if record["warning"]["event"] is not None:
            record["warning"]["event"]["best_step"] = 200
    assert best_of([readable(record) for record in records[1:]]) == (4, "best held-out score")
    records[4]["logged"] = {"val_loss": 0.1}
    assert best_of([readable(record) for record in records[1:]]) == (3, "lowest val_loss")


def test_the_best_probe_follows_the_held_out_score_not_the_training_loss():
    logged = [{"train_loss": 3.0}, {"val_accuracy": 0.9, "loss": 2.0}, {"val_accuracy": 0.8, "loss": 1.0}]
    steps = [0, 1, 2]
    assert best_probe(steps, logged, [None] * 3) == (1, "highest val_accuracy")
    assert best_probe([0], [{"train_loss": 0.1}], [None]) is None
    assert best_probe([0], [{"loss": 0.1}], [None]) is None, "the training's, see Monitor.log"
    assert best_probe([0, 1], [{"val_loss": math.nan}, {"val_loss": 2.0}], [None] * 2) == (
        1,
        "lowest val_loss",
    )
