from __future__ import annotations

import inspect
import logging
import re

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

import foldmon
from foldmon.config.options import Config, option_names
from foldmon.config.sources import parse, read_file, resolved


def write(folder, text):
    path = folder / "foldmon.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("file", "environment", "keywords", "pairs"),
    [
        ("points: 9", {}, {}, 64),
        ("pairs: 8", {}, {}, 8),
        ("pairs: 8", {"FOLDMON_PAIRS": "16"}, {}, 16),
        ("pairs: 8", {"FOLDMON_PAIRS": "16"}, {"pairs": 32}, 32),
        ("pairs: 8", {"FOLDMON_PAIRS": "16"}, {"pairs": 64}, 64),
    ],
)
def test_keywords_are_stronger_than_the_environment_than_the_file(
    tmp_path, monkeypatch, mlp, held_out, file, environment, keywords, pairs
):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    options = {"exporters": [], "method": "sampled", "config": write(tmp_path, file)}
    with foldmon.watch(mlp, held_out, **options, **keywords) as monitor:
        assert monitor.config.pairs == pairs
        assert len(monitor.probe().chi) == pairs


def test_exporters_can_be_named_in_the_file(tmp_path, mlp, held_out):
    path = write(tmp_path, f"exporters: [tensorboard]\nlog_dir: {tmp_path / 'run'}")
    with foldmon.watch(mlp, held_out, config=path) as monitor:
        monitor.probe()
    assert list((tmp_path / "run" / "foldmon").glob("events.out.*"))


def test_exporters_none_given_by_keyword_is_stronger_than_the_file(tmp_path, mlp, held_out):
    path = write(tmp_path, f"exporters: []\nlog_dir: {tmp_path / 'run'}")
    with foldmon.watch(mlp, held_out, config=path, exporters=None) as monitor:
        monitor.probe()
    assert list((tmp_path / "run" / "foldmon").glob("events.out.*"))


def test_a_config_object_does_as_well_as_a_file():
    assert resolved(Config(points=9), {}, {"seed": 3}) == Config(points=9, seed=3)
    with pytest.raises(TypeError, match="YAML file or a Config"):
        resolved(3, {}, {})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("every: 5\nbugdet: 0.1", "line 2: unknown option 'bugdet'; did you mean 'budget'?"),
        ("every: 5\n\npoints: one", "line 3: points must be at least 2 (both ends), got 'one'"),
        ("every: 5\nevery: 6", "line 2: every is given a second time"),
        ("- every\n- 5", "line 1: the file must hold lines of the form `option: value`"),
        ("every: 5\nlayers: [a, b", "line 2: expected ',' or ']'"),
        ("seed: 0\nat: !!python/object:os.system x", "line 2: could not determine a constructor"),
        ("at: 5", "line 1: at must be the path of a module, or None, got 5"),
        ("? [a]\n: 1", "line 1: the name of an option is a word"),
        ("seed: 2000-99-99", "line 1: month must be in 1..12"),
        ("disabled: maybe", "line 1: disabled must be True or False"),
    ],
)
def test_an_error_in_the_file_names_line_and_cause(tmp_path, text, message):
    path = write(tmp_path, text)
    with pytest.raises(ValueError, match=re.escape(f"{path}, {message}")):
        read_file(path)


def test_bytes_that_are_no_text_are_named(tmp_path):
    with pytest.raises(ValueError, match="x, line 2: byte 0xff is not UTF-8 text"):
        parse(b"every: 5\n\xff\xfe", "x")


def test_small_numbers_may_be_written_without_a_point():
    assert parse(b"budget: 1e-3", "x") == {"budget": 0.001}


@pytest.mark.parametrize(
    "data",
    [
        b"layers: " + b"[" * 5000,
        b"a: &a [x, x]\n" + b"".join(b"%c: &%c [*%c, *%c]\n" % (i, i, i - 1, i - 1) for i in range(98, 122)),
        b"layers: &a [*a]",
        b"x: 1\n" * 300_000,
        b"every: " + b"9" * 5000,
    ],
    ids=["deep", "bomb", "recursive", "large", "digits"],
)
def test_hostile_files_are_refused_at_once(data):
    with pytest.raises(ValueError, match=r"x, line \d+: "):
        parse(data, "x")


def options_or_a_line(data):
    try:
        options = parse(data, "x")
    except ValueError as error:
        message = str(error)
    else:
        assert isinstance(Config(**options), Config)
        return
    assert re.match(r"x, line \d+: .", message)


any_text = st.text(max_size=200).map(lambda text: text.encode("utf-8", "replace"))


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.binary(max_size=200), any_text))
def test_any_bytes_give_options_or_a_line(data):
    options_or_a_line(data)


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from(option_names()), plain, min_size=1))
def test_any_values_give_options_or_a_line(values):
    options_or_a_line(yaml.safe_dump(values).encode())


def test_a_wrong_value_in_the_environment_names_the_variable(monkeypatch, mlp, held_out):
    monkeypatch.setenv("FOLDMON_BUDGET", "much")
    with pytest.raises(ValueError, match="environment variable FOLDMON_BUDGET: budget must be a share"):
        foldmon.watch(mlp, held_out)


def test_an_unknown_variable_is_told_and_harms_nothing(caplog):
    with caplog.at_level(logging.WARNING, "foldmon"):
        assert resolved(None, {"FOLDMON_EVRY": "3"}, {}) == Config()
    assert "did you mean 'FOLDMON_EVERY'" in caplog.text


def test_a_variable_of_the_process_is_known_and_no_option(caplog):
    with caplog.at_level(logging.WARNING, "foldmon"):
        assert resolved(None, {"FOLDMON_KEEP_FREED_MEMORY": "0"}, {}) == Config()
    assert not caplog.records


def test_the_signature_of_watch_stays_readable():
    parameters = inspect.signature(foldmon.watch).parameters
    assert parameters["budget"].default == Config().budget
    shared = set(parameters) & set(option_names())
    assert {name: parameters[name].default for name in shared} == {
        name: getattr(Config(), name) for name in shared
    }
