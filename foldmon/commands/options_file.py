"""``foldmon config``: a YAML file of all options, each under what the documentation says of it."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from pathlib import Path

import yaml

import foldmon
from foldmon.config import Config
from foldmon.config.sources import PREFIX


def default_file() -> str:
    """A YAML file of all defaults, each under a comment that says what it is."""
    lines = [
        '# Options of foldmon.watch(..., config="foldmon.yaml"). Stronger than this file are environment',
        f"# variables ({PREFIX}EVERY=100), and stronger than those keyword arguments.",
    ]
    words = option_help()
    for name, value in Config().to_dict().items():
        text = words[name]
        for python, in_yaml in (("None", "null"), ("True", "true"), ("False", "false")):
            text = text.replace(python, in_yaml)
        comment = textwrap.wrap(text, width=98, initial_indent="# ", subsequent_indent="# ")
        lines += ["", *comment, yaml.safe_dump({name: value}).strip()]
    return "\n".join(lines) + "\n"


def option_help() -> dict[str, str]:
    """What each option means: read from the docstring of ``foldmon.watch``, and of Config for its own.

    Example:
        >>> option_help()["seed"]
        'of the draw of the pairs.'
    """
    sections = [(_docstring_of_watch(), "Args:\n"), (inspect.getdoc(Config), "Attributes:\n")]
    text = "\n".join((doc or "").partition(head)[2].partition("\n\n")[0] for doc, head in sections)
    entries = re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", text, flags=re.MULTILINE)
    return {name: re.sub(r"\s+", " ", words) for name, words in entries}


def _docstring_of_watch() -> str | None:
    """Read, not imported: torch takes seconds to import, and the words are all that is needed."""
    source = Path(foldmon.__file__).with_name("watching.py").read_text("utf-8")
    functions = [node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)]
    return next((ast.get_docstring(node) for node in functions if node.name == "watch"), None)
