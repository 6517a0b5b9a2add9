"""The journal and the exporters know nothing of what reads them."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import foldmon

ROOT = Path(foldmon.__file__).parent
MAY_IMPORT = {"journal": {"journal", "folding"}, "exporters": {"exporters", "journal", "folding"}}


def imported(path: Path) -> set[str]:
    """The rooms that a module imports, inside its functions too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        found |= {name.split(".")[1] for name in names if name.startswith("foldmon.")}
    return found


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_a_room_imports_only_what_lies_below_it(room):
    modules = sorted((ROOT / room).glob("*.py"))
    assert len(modules) > 5
    assert set().union(*map(imported, modules)) <= MAY_IMPORT[room]
