"""The pages a newcomer reads: their links lead somewhere, and what they list is what there is."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

import foldmon

ROOT = Path(__file__).parents[1]
PAGES = (
    "README.md",
    "foldmon/LIMITATIONS.md",
    "examples/README.md",
    "tests/benchmarks/README.md",
    "tests/benchmarks/RESULTS-live.md",
    "tests/benchmarks/RESULTS-overhead.md",
    "tests/benchmarks/RESULTS-precision.md",
    "tests/benchmarks/regularizer/RESULTS.md",
    "tests/benchmarks/warnings/RESULTS.md",
)


def _section(title: str) -> str:
    return (
        (ROOT / "README.md").read_text(encoding="utf-8").partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    )


@pytest.mark.parametrize("page", PAGES)
def test_relative_links_lead_to_files(page):
    path = ROOT / page
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", path.read_text(encoding="utf-8"))
    missing = [t for t in targets if "://" not in t and not (path.parent / t).exists()]
    assert missing == []


@pytest.mark.parametrize("page", PAGES)
def test_commands_name_scripts_that_are_there(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    scripts = re.findall(r"python ((?:tests|examples)/[\w/]+\.py)", text)
    modules = re.findall(r"python -m (tests[\w.]+)", text)
    paths = scripts + [name.replace(".", "/") for name in modules]
    assert [p for p in paths if not ((ROOT / p).exists() or (ROOT / f"{p}.py").exists())] == []


def test_the_table_of_options_is_the_signature_of_watch():
    rows = re.findall(r"^\| `(\w+)` \| `([^`]+)` \|", _section("Options"), flags=re.MULTILINE)
    parameters = inspect.signature(foldmon.watch).parameters.values()
    options = [(p.name, repr(p.default)) for p in parameters if p.kind is p.KEYWORD_ONLY]
    assert rows == options


def test_the_tree_of_packages_is_that_of_the_folders():
    drawn = re.findall(r"^[├└]── (\w+)/", _section("Development"), flags=re.MULTILINE)
    rooms = [path.parent.name for path in (ROOT / "foldmon").glob("*/__init__.py")]
    assert sorted(drawn) == sorted(rooms)
