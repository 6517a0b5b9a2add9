"""Whether a record read from a file is one: a journal may hold anything."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from foldmon.journal.schema import Record

_LARGEST = 2**63 - 1  # of a step or a time: what the backends' formats hold


def flaw(record: Record) -> str | None:
    """What keeps a record from being exported, in words; None where nothing does.

    Records of a kind that is not known here need a ``seq`` and a ``time_ms`` only.

    Example:
        >>> flaw({"kind": "end", "seq": 3, "time_ms": 1700000000000})
        >>> flaw({"kind": "probe", "seq": 4, "time_ms": 1700000000000})
        "'step' is missing"
    """
    fields = _EVERY | _OF_KIND.get(record["kind"], {})
    wrong = _wrong_field(record, fields)
    if wrong is not None:
        return wrong
    if record["kind"] == "start":
        return _wrong_field(record["coverage"], {"sites": _is_mapping})
    return _wrong_part(record) if record["kind"] == "probe" else None


def _wrong_part(record: Record) -> str | None:
    for key in ("folding", "cumulative"):
        if len(record[key]) != len(record["layers"]):
            return f"'{key}' has {len(record[key])} values for {len(record['layers'])} layers"
    if len(record["phi_interval"]) != 2:
        return "'phi_interval' has not two ends"
    event = record["warning"].get("event")
    parts = [
        (record["monitor"], _MONITOR),
        (record["warning"], _WARNING),
        *([(record["decision"], _DECISION)] if record["decision"] is not None else []),
        *([(event, _EVENT)] if event is not None else []),
    ]
    return next(filter(None, (_wrong_field(part, fields) for part, fields in parts)), None)


def _wrong_field(part: Mapping[str, Any], fields: Mapping[str, Callable[[Any], bool]]) -> str | None:
    for key, fits in fields.items():
        if key not in part:
            return f"'{key}' is missing"
        if not fits(part[key]):
            return f"'{key}' is {_shortened(part[key])}"
    return None


def _shortened(value: Any) -> str:
    text = ascii(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _LARGEST


def _is_number(value: Any) -> bool:
    # A huge integer of JSON is no float.
    is_small = not isinstance(value, int) or abs(value) <= _LARGEST
    return isinstance(value, int | float) and not isinstance(value, bool) and is_small


def _is_numbers(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_number, value))


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _is_mapping(value: Any) -> bool:
    return isinstance(value, dict)


def _is_mapping_or_none(value: Any) -> bool:
    return value is None or isinstance(value, dict)


def _is_named_numbers(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_is_number, value.values()))


_EVERY = {"seq": _is_count, "time_ms": _is_count}
_OF_KIND: dict[str, dict[str, Callable[[Any], bool]]] = {
    "start": {"model": _is_text, "config": _is_mapping, "coverage": _is_mapping},
    "probe": {
        "step": _is_count,
        "phi": _is_number,
        "phi_interval": _is_numbers,
        "phi_median_nonzero": _is_number,
        "nonzero_fraction": _is_number,
        "layers": _is_texts,
        "folding": _is_numbers,
        "cumulative": _is_numbers,
        "decision": _is_mapping_or_none,
        "logged": _is_named_numbers,
        "warning": _is_mapping,
        "monitor": _is_mapping,
    },
}
_MONITOR = {"overhead": _is_number, "probe_seconds": _is_number, "skipped": _is_number}
_WARNING = {"level": _is_number, "event": _is_mapping_or_none}
_DECISION = {"changes": _is_number, "elsewhere": _is_number}
_EVENT = {"step": _is_count, "severity": _is_number, "reasons": _is_texts}
