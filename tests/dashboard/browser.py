"""A headless Chromium: the page as its reader gets it, as text and as a picture."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--disable-dev-shm-usage",
)


def dump(url: str, *, milliseconds: int = 8000, size: str = "1440,1000", dark: bool = False) -> str:
    """The page's elements after its scripts ran for some (virtual) time."""
    return _run(url, "--dump-dom", milliseconds=milliseconds, size=size, dark=dark)


def shoot(
    url: str, to: Path, *, milliseconds: int = 8000, size: str = "1440,1000", dark: bool = False
) -> None:
    """A picture of the page."""
    _run(url, f"--screenshot={to}", milliseconds=milliseconds, size=size, dark=dark)


def _run(url: str, what: str, *, milliseconds: int, size: str, dark: bool) -> str:
    assert CHROMIUM is not None
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        theme = (
            ["--blink-settings=preferredColorScheme=0"]
            if dark
            else ["--blink-settings=preferredColorScheme=1"]
        )
        page = (f"--window-size={size}", f"--virtual-time-budget={milliseconds}")
        done = subprocess.run(
            [CHROMIUM, *_FLAGS, *theme, f"--user-data-dir={profile}", *page, what, url],
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
    return done.stdout
