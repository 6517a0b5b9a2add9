"""Imports run one way: each room knows only those below it, so that no circle of rooms can come about."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

import foldmon

ROOT = Path(foldmon.__file__).parent
# From the ground up. A file beside the rooms is a room of its own.
HOUSE = (
    "torch_internals", "folding", "config", "journal", "regularize", "warning", "sampling", "exporters",
    "views", "monitor", "watching", "commands", "integrations",
)  # fmt: skip
FOLDING = (
    "undisturbed", "data", "results", "symbols", "model", "held_out", "sampled", "exact", "auto", "measuring",
)  # fmt: skip
# What stands on the ground: nothing of the product is below it.
NOTHING_ABOVE = {"folding": {"torch_internals"}, "journal": {"folding"}, "exporters": {"folding", "journal"}}


def imported(path: Path) -> set[str]:
    """The modules of foldmon that a module imports, inside its functions too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        found |= {name for name in names if name.startswith("foldmon.")}
    return found


def room_of(path: Path, inside: Path) -> str:
    """The folder or file directly ``inside`` that a module is in."""
    return path.relative_to(inside).parts[0].removesuffix(".py")


def arrows(inside: Path, prefix: str) -> dict[str, set[str]]:
    """Of each room the other rooms that it imports."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for path in inside.rglob("*.py"):
        room = room_of(path, inside)
        if room != "__init__":
            names = {name for name in imported(path) if name.startswith(prefix)}
            found[room] |= {name.removeprefix(prefix).split(".")[0] for name in names} - {room}
    return found


def test_every_room_imports_only_those_below_it():
    for inside, prefix, order in ((ROOT, "foldmon.", HOUSE), (ROOT / "folding", "foldmon.folding.", FOLDING)):
        found = arrows(inside, prefix)
        assert set(found) == set(order), "a new room is to be given its place"
        for place, room in enumerate(order):
            assert found[room] <= set(order[:place]), room


def test_the_measure_the_journal_and_the_exporters_know_nothing_of_the_product_above_them():
    found = arrows(ROOT, "foldmon.")
    for room, below in NOTHING_ABOVE.items():
        assert found[room] <= below
