from __future__ import annotations

import inspect
import re

import foldmon
from foldmon.commands.options_file import default_file, option_help
from foldmon.config.options import Config, option_names
from foldmon.config.sources import parse


def test_the_default_file_holds_every_option_with_its_meaning_and_loads_as_the_defaults():
    text = default_file()
    assert Config(**parse(text.encode(), "foldmon.yaml")) == Config()
    assert set(option_names()) <= set(option_help())
    for name in option_names():
        assert re.search(rf"^# .*\n{name}: ", text, flags=re.MULTILINE), f"{name} has no comment"
    assert "null measures shares of the" in text


def test_each_option_is_documented_in_one_place_only():
    told = re.findall(r"^ {4}(\w+): ", inspect.getdoc(Config) or "", flags=re.MULTILINE)
    keywords = inspect.signature(foldmon.watch).parameters
    assert set(told) - {"ValueError"} == set(option_names()) - set(keywords)
    assert set(keywords) <= set(option_help())
