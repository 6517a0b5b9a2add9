"""A TensorBoard process of its own that has the plugin, whether foldmon is installed with it or not."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_ENTRY_POINT = "[tensorboard_plugins]\nfoldmon = foldmon.views.tensorboard.entry:FoldingLoader\n"


class Server:
    """Where a TensorBoard answers."""

    def __init__(self, url: str, process: subprocess.Popen[bytes]) -> None:
        self.url, self.process = url, process

    @property
    def page(self) -> str:
        """The Folding tab's own frame."""
        return f"{self.url}/data/plugin_entry.html?name=foldmon"

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(f"{self.url}{path}", timeout=60) as answer:
            return json.loads(answer.read())

    def wait_for(self, condition: Callable[[], Any], seconds: float = 60) -> None:
        """Return as soon as the condition holds."""
        until = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < until, "still not so"
            time.sleep(0.2)


@contextmanager
def tensorboard(logdir: Path, scratch: Path, *flags: str, prefix: str = "") -> Iterator[Server]:
    """Run TensorBoard over a folder; ``scratch`` holds what makes the plugin known to it."""
    about = scratch / "foldmon-0.dist-info"
    about.mkdir(parents=True, exist_ok=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: foldmon\nVersion: 0\n")
    (about / "entry_points.txt").write_text(_ENTRY_POINT)
    root = Path(__file__).parents[2]
    paths = [str(scratch), str(root), *filter(None, [os.environ.get("PYTHONPATH")])]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    where = ("--logdir", str(logdir), "--host", "127.0.0.1", "--port", str(port), "--path_prefix", prefix)
    command = [sys.executable, "-m", "tensorboard.main", *where, *flags]
    with (scratch / "tensorboard.log").open("wb") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=log, env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
        )
    server = Server(f"http://127.0.0.1:{port}{prefix}", process)
    try:
        _wait(server, scratch / "tensorboard.log")
        yield server
    finally:
        process.terminate()
        process.wait(20)


def _wait(server: Server, log: Path) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        try:
            assert server.get("/data/environment")
            return
        except OSError:
            assert server.process.poll() is None, log.read_text()
            time.sleep(0.1)
    raise AssertionError(log.read_text())
