"""Whether a record read from a file is one: a journal may hold anything."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any, get_args, get_origin, get_type_hints, is_typeddict

from foldmon.journal.following import parsed
from foldmon.journal.schema import Numbered, ProbeRecord, Record, StartRecord, is_probe

_LARGEST = 2**63 - 1  # of a step or a time: what the backends' formats hold
_KINDS: Mapping[str, type] = {"start": StartRecord, "probe": ProbeRecord}


def flaw(record: Record) -> str | None:
    """What keeps a record from being exported, in words; None where nothing does.

    Records of a kind that is not known here need a ``seq`` and a ``time_ms`` only.

    Example:
        >>> flaw({"kind": "end", "seq": 3, "time_ms": 1700000000000})
        >>> flaw({"kind": "probe", "seq": 4, "time_ms": 1700000000000})
        "'step' is missing"
    """
    wrong = next(_wrong(record, _KINDS.get(record["kind"], Numbered)), None)
    if wrong is None and is_probe(record):
        for key, values in (("folding", record["folding"]), ("cumulative", record["cumulative"])):
            if len(values) != len(record["layers"]):
                return f"'{key}' has {len(values)} values for {len(record['layers'])} layers"
        if len(record["phi_interval"]) != 2:
            return "'phi_interval' has not two ends"
        held_out = record.get("held_out")
        intervals = [] if held_out is None else [held_out["loss_interval"], held_out["accuracy_interval"]]
        if any(interval is not None and len(interval) != 2 for interval in intervals):
            return "an interval of 'held_out' has not two ends"
    return wrong


def read_checked(journal: str | os.PathLike[str]) -> tuple[list[Record], list[str]]:
    """The sound records of a journal, in order, and the cause for each line that is none.

    A last line without its end was torn when the process died, and is left out silently.

    Raises:
        OSError: the file cannot be read.
    """
    records: list[Record] = []
    causes: list[str] = []
    with open(journal, "rb") as file:
        for number, line in enumerate(file, start=1):
            record, cause = parsed(line)
            cause = cause if record is None else flaw(record) or ""
            if record is not None and not cause:
                records.append(record)
            elif line.strip() and line.endswith(b"\n"):
                causes.append(f"line {number}: {cause}")
    return records, causes


def _wrong(part: Mapping[str, Any], schema: type) -> Iterator[str]:
    """What of the keys that ``schema`` requires is missing or of another type; of others what lies inside."""
    for key, fits, entry in _looked_at(schema):
        if key not in part:
            if key in schema.__required_keys__:  # type: ignore[attr-defined]
                yield f"'{key}' is missing"
        elif not fits(part[key]):
            yield f"'{key}' is {_shortened(part[key])}"
        elif entry is not None and part[key] is not None:
            yield from _wrong(part[key], entry)


@functools.cache
def _looked_at(schema: Any) -> list[tuple[str, Callable[[Any], bool], type | None]]:
    """Name, check and the mapping's own schema, if any, of each key that is required or has such a schema."""
    keys = [
        (key, _check(hint), next(filter(is_typeddict, (hint, *get_args(hint))), None))
        for key, hint in get_type_hints(schema).items()
    ]
    return [entry for entry in keys if entry[0] in schema.__required_keys__ or entry[2] is not None]


def _check(hint: Any) -> Callable[[Any], bool]:
    """What tells whether a value of JSON is of a type of the schema."""
    if hint in _PLAIN:
        return _PLAIN[hint]
    if is_typeddict(hint):
        return lambda value: isinstance(value, dict)
    parts = [_check(part) for part in get_args(hint)]
    if get_origin(hint) is list:
        return lambda value: isinstance(value, list) and all(map(parts[0], value))
    if get_origin(hint) is dict:
        return lambda value: isinstance(value, dict) and all(map(parts[1], value.values()))
    return lambda value: any(part(value) for part in parts)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _LARGEST


def _is_number(value: Any) -> bool:
    if value is None:
        return True  # it was not finite
    # A huge integer of JSON is no float.
    is_small = not isinstance(value, int) or abs(value) <= _LARGEST
    return isinstance(value, int | float) and not isinstance(value, bool) and is_small


_PLAIN: Mapping[Any, Callable[[Any], bool]] = {
    Any: lambda value: True,
    type(None): lambda value: value is None,
    str: lambda value: isinstance(value, str),
    int: _is_count,
    float: _is_number,
}


def _shortened(value: Any) -> str:
    text = ascii(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
