"""Options from a file, the environment and keyword arguments, the later ones stronger."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from foldmon.config.options import Config, checked, option_names
from foldmon.folding.model.names import unknown_name

logger = logging.getLogger("foldmon")

PREFIX = "FOLDMON_"
# Of the process, no options of a monitor's: read where it acts, in foldmon.folding.model.memory.
_NO_OPTIONS = (PREFIX + "KEEP_FREED_MEMORY",)
_LARGEST = 2**20  # bytes; no hand-written options file comes near

ConfigLike = Config | str | os.PathLike[str]


def resolved(config: ConfigLike | None, environment: Mapping[str, str], given: Mapping[str, Any]) -> Config:
    """The options that hold: a file's are the weakest, then the environment's, then keyword arguments.

    ``FOLDMON_DISABLED=1`` is stronger than all; nothing else is looked at then.

    Args:
        config: a YAML file, or a Config, or None for the defaults.
        environment: ``FOLDMON_EVERY=100`` and the like are read from it.
        given: keyword arguments that the caller really gave, defaults not among them; those that are no
            options are passed over.

    Raises:
        ValueError: an option is unknown or out of its range; the message says where it came from.
        TypeError: ``config`` is no file name and no Config.

    Example:
        >>> resolved(Config(points=9, pairs=8), {"FOLDMON_POINTS": "17"}, {"pairs": 64}).to_dict()["points"]
        17
    """
    if environment.get(PREFIX + "DISABLED", "").strip().lower() in ("1", "true", "yes", "on"):
        return Config(disabled=True)
    if config is None or isinstance(config, Config):
        options = (config or Config()).to_dict()
    elif isinstance(config, str | os.PathLike):
        options = read_file(config)
    else:
        raise TypeError(f"config must be the name of a YAML file or a Config, got {type(config).__name__}")
    options |= from_environment(environment)
    options |= {name: checked(name, given[name]) for name in option_names() if name in given}
    return Config(**options)


def from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    """The options that ``FOLDMON_...`` variables set; values are read as in a YAML file.

    A variable of no known option is logged, not refused: it may be meant for another release.

    Raises:
        ValueError: a value is out of its option's range.

    Example:
        >>> from_environment({"FOLDMON_EVERY": "50", "FOLDMON_LAYERS": "[conv1, fc]", "HOME": "/"})
        {'every': 50, 'layers': ('conv1', 'fc')}
    """
    known = {PREFIX + name.upper(): name for name in option_names()}
    options = {}
    for variable in sorted(environment):
        if not variable.startswith(PREFIX) or variable in _NO_OPTIONS:
            continue
        if variable not in known:
            logger.warning("foldmon: %s", unknown_name("environment variable", variable, known))
            continue
        try:
            value = _yaml().safe_load(environment[variable])
        except Exception as error:
            raise ValueError(f"{variable} is no YAML value ({_cause(error)})") from error
        try:
            options[known[variable]] = checked(known[variable], _as_flag(known[variable], value))
        except ValueError as error:
            raise ValueError(f"environment variable {variable}: {error}") from error
    return options


def read_file(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The options of a YAML file: a mapping of option names to values.

    Raises:
        ValueError: the file is no such mapping, or holds an unknown or wrong option; the message names
            the line.
        OSError: the file cannot be read.
    """
    with Path(path).open("rb") as file:
        data = file.read(_LARGEST + 1)
    return parse(data, str(path))


def parse(data: bytes, name: str) -> dict[str, Any]:
    """:func:`read_file` for bytes that are at hand.

    Example:
        >>> parse(b"every: 100", "foldmon.yaml")
        {'every': 100}
        >>> parse(b"every: 100\\nbugdet: 0.02", "foldmon.yaml")
        Traceback (most recent call last):
            ...
        ValueError: foldmon.yaml, line 2: unknown option 'bugdet'; did you mean 'budget'? Known: every, ...
    """
    if len(data) > _LARGEST:
        raise ValueError(f"{name}, line 1: more than {_LARGEST} bytes; that is no file of options")
    options: dict[str, Any] = {}
    for line, key, value in _entries(data, name):
        where = f"{name}, line {line}"
        if key not in option_names():
            raise ValueError(f"{where}: {unknown_name('option', key, option_names())}")
        if key in options:
            raise ValueError(f"{where}: {key} is given a second time")
        try:
            options[key] = checked(key, value)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from error
    return options


def _entries(data: bytes, name: str) -> list[tuple[int, str, Any]]:
    """Line, key and value of each entry of the document."""
    place = 1
    try:
        yaml = _yaml()
        loader = yaml.SafeLoader(data.decode())
        root = loader.get_single_node()
        if root is None:
            return []
        place = root.start_mark.line + 1
        if not isinstance(root, yaml.MappingNode):
            raise ValueError("the file must hold lines of the form `option: value`")
        entries = []
        for key, value in root.value:
            place = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                raise ValueError("the name of an option is a word")
            entries.append((place, key.value[:100], loader.construct_object(value, deep=True)))
        return entries
    except Exception as error:
        # Not YAMLError alone: on odd scalars ("!!int", "2000-99-99") the parser raises whatever it meets.
        mark = getattr(error, "problem_mark", None)
        if isinstance(error, UnicodeDecodeError):
            place = data[: error.start].count(b"\n") + 1
        elif mark is not None:
            place = mark.line + 1
        raise ValueError(f"{name}, line {place}: {_cause(error)}") from error


def _cause(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return f"byte {error.object[error.start]:#04x} is not UTF-8 text"
    text = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
    return str(text) or type(error).__name__


def _as_flag(name: str, value: object) -> object:
    # In shells 1 and 0 stand for true and false.
    return bool(value) if name in ("disabled", "background") and value in (0, 1) else value


def _yaml() -> Any:
    # Imported at first use: most runs read no file, and importing foldmon is to cost next to nothing.
    import yaml

    return yaml
