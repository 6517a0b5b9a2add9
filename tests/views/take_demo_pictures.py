"""Pictures of ``foldmon demo`` for the README: python -m tests.views.take_demo_pictures [folder]."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from foldmon.commands import demo
from tests.views.browser import Browser
from tests.views.server import tensorboard

_CLOSE_PANELS = (
    "[...document.querySelectorAll('button')]"
    ".filter(button => /close/i.test(button.ariaLabel ?? '')).map(button => button.click())"
)
_FRAME = "document.querySelector('iframe')?.contentDocument"


def main(folder: str | Path = Path(__file__).parent / "screenshots") -> None:
    out = Path(folder)
    with tempfile.TemporaryDirectory() as scratch, Browser(1280, 860) as browser:
        demo.run(scratch, quiet=True)
        browser.prefer("light")
        with tensorboard(scratch, Path(scratch) / "tensorboard") as server:
            browser.open(f"{server.url}/?darkMode=false#foldmon")
            browser.wait_for(f"{_FRAME}?.documentElement?.dataset.loaded", 60)
            time.sleep(0.5)
            browser.shoot(out / "demo-tensorboard.png")
        with _mlflow(Path(scratch)) as (address, experiment):
            browser.resize(1760, 1000)
            browser.open(f"{address}/#/experiments/{experiment}/runs?compareRunsMode=CHART&searchFilter=")
            browser.wait_for("document.querySelectorAll('.js-plotly-plot').length > 2", 180)
            browser.evaluate(_CLOSE_PANELS)
            time.sleep(5)  # it draws one chart after the other
            browser.shoot(out / "demo-mlflow.png")


@contextmanager
def _mlflow(folder: Path) -> Iterator[tuple[str, str]]:
    """A server on the demo's database: its address, and the demo's experiment."""
    import mlflow

    store = f"sqlite:///{folder / 'mlflow.db'}"
    experiment = mlflow.MlflowClient(store).get_experiment_by_name("foldmon demo").experiment_id
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--port", str(port), "--backend-store-uri", store]
    process = subprocess.Popen(
        [*command, "--workers", "1"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        until = time.monotonic() + 120
        while time.monotonic() < until:
            try:
                urllib.request.urlopen(f"{address}/health", timeout=1)
                break
            except OSError:
                time.sleep(0.5)
        yield address, experiment
    finally:
        os.killpg(process.pid, 15)
        process.wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
