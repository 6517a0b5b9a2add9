"""What of a journal's lines a reader need not parse: nearly all of a long line are lists that few use."""

from __future__ import annotations

import re

OF_PATHS = (
    "network_r1", "network_r2", "path_r1", "path_r2", "path_r1_cumulative", "path_changes", "path_elsewhere",
    "ends", "entropy", "leading", "probabilities", "classes",
)  # fmt: skip
OF_INPUTS = ("losses", "correct", "predicted")


def lists(*names: str) -> re.Pattern[bytes]:
    r"""Matches these names with their values, lists of numbers however nested, in the bytes of a record.

    Between the brackets there is neither text nor an object, so that the list ends at the last bracket before
    the next name or brace. In a string the name's quotes would be escaped, so that nothing matches there.

    Example:
        >>> lists("r1").sub(b'"":0', b'{"r1": [[1], [2, NaN]], "r2": [3], "note": "\\"r1\\": [4]"}')
        b'{"":0, "r2": [3], "note": "\\"r1\\": [4]"}'
    """
    return re.compile(rb'"(?:%b)": ?\[[^"{}]*\](?=}|, ?")' % "|".join(names).encode())


UNEXPORTED = lists(*OF_PATHS, *OF_INPUTS)
"""What goes to no backend."""
