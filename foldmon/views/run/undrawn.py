"""What of a journal's lines a view need not parse."""

from __future__ import annotations

from foldmon.journal.unparsed import OF_INPUTS, OF_PATHS, lists

_TOO = ("class_matrix", *OF_INPUTS)

UNDRAWN = lists(*OF_PATHS, *_TOO, "r1", "r2", "units", "dead", "saturated", "nonfinite")
"""What no curve is made of."""

UNTABLED = lists(*(name for name in OF_PATHS if name != "network_r1"), *_TOO)
"""What stands in no table of a report."""
