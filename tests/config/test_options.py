from __future__ import annotations

import pytest

from foldmon.config import Config


@pytest.mark.parametrize(
    ("name", "fits", "does_not"),
    [
        ("every", [None, 1], [0, -1, "often", True]),
        ("budget", [0.5, 1], [0, 1.5, float("nan")]),
        ("allowance", [0, 2.5], [-0.1, float("inf"), "much"]),
        ("pairs", [2], [1, None]),
        ("points", [2], [1, None]),
        ("samples", [0, 512], [-1, None]),
        ("method", ["auto", "exact"], ["exactly", None]),
        ("layers", [None, "relu", ["a", "b"]], [[], ["a", 3], 3]),
        ("at", [None, "embed"], [3]),
        ("exporters", [None, "console", (), ["console"]], [["console", 3], 3]),
        ("background", [True, False], [None, 1]),
        ("seed", [0, 7], [-1, None]),
        ("log_dir", [None, "runs"], [3]),
        ("replica_limit", [0, 2**30], [-1, None]),
        ("disabled", [True], [None, 1]),
    ],
)
def test_what_an_option_takes_and_what_it_says_of_the_rest(name, fits, does_not):
    for value in fits:
        assert getattr(Config(**{name: value}), name) == value
    for value in does_not:
        with pytest.raises(ValueError, match=f"^{name} must be .*, got "):
            Config(**{name: value})
