"""A monitor of which nothing works."""

from __future__ import annotations

from typing import Any


class BrokenMonitor:
    """Raises whatever is asked of it, and takes down what was."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __getattr__(self, name: str) -> Any:
        self.asked.append(name)
        raise RuntimeError(f"broken at {name}")
