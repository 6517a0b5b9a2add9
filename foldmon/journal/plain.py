"""Values as JSON that every reader takes: RFC 8259 knows neither NaN nor infinities."""

from __future__ import annotations

import json
import math
import re
from typing import Any

# A string is matched whole, so that what only looks like a number inside one stays.
_NO_NUMBER = re.compile(r'"(?:[^"\\]|\\.)*"|NaN|Infinity|-Infinity')


def json_text(value: Any, **layout: Any) -> str:
    """The value as JSON: null for what is no finite number, and a number for one of NumPy's or torch's.

    Args:
        value: of dicts, lists, texts and numbers.
        layout: ``indent`` and ``separators`` of ``json.dumps``.

    Raises:
        TypeError: something else is inside.

    Example:
        >>> json_text({"phi": float("nan"), "note": "NaN", "r": [1, -float("inf")]})
        '{"phi": null, "note": "NaN", "r": [1, null]}'
    """
    text = json.dumps(value, default=_plain, **layout)
    if "NaN" not in text and "Infinity" not in text:
        return text
    return _NO_NUMBER.sub(lambda found: found[0] if found[0][0] == '"' else "null", text)


def number(value: float | None) -> float:
    """A number of a record, NaN for null: the record had it where it was measured.

    Example:
        >>> number(None), number(0.25)
        (nan, 0.25)
    """
    return math.nan if value is None else value


def _plain(value: Any) -> Any:
    item = getattr(value, "item", None)
    if item is None:
        raise TypeError(f"a {type(value).__name__} is no value of JSON")
    return item()
