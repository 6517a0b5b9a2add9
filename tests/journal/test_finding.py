from __future__ import annotations

import time

from foldmon.journal.finding import run_folder


def test_runs_that_begin_in_the_same_second_get_folders_of_their_own(tmp_path, monkeypatch):
    monkeypatch.setattr(time, "strftime", lambda form: "foldmon-now")
    for name in ("foldmon-now", "foldmon-now-1", "foldmon-now-2"):
        assert run_folder() == tmp_path / "runs" / name
        run_folder().mkdir(parents=True)
