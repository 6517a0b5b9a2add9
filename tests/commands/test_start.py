"""Commands that need no torch do not wait for it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.views import journals


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["report", "--help"], ["config"], ["config", "--json"], ["report", "run", "--out", "r.html"],
     ["live", "run"]],
)  # fmt: skip
def test_torch_is_not_imported(tmp_path, arguments):
    records = journals.training(3, 2)
    journals.write(tmp_path / "run" / "foldmon" / "journal.jsonl", [*records, journals.end(records)])
    program = (
        "import sys\nfrom foldmon.commands.main import main\n"
        f"try: code = main({arguments!r})\nexcept SystemExit as done: code = done.code\n"
        "print('torch' in sys.modules, file=sys.stderr)\nsys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.strip() == "False"
