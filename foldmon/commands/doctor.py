"""``foldmon doctor``: what is installed, and what of it works."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlparse
from urllib.request import urlopen

_REQUIRED = ("torch", "numpy", "pyyaml", "tensorboard")
_OPTIONAL = (
    "mlflow",
    "matplotlib",
    "lightning",
    "transformers",
    "accelerate",
    "pytorch-ignite",
    "wandb",
    "rich",
)
_TIMEOUT = 3.0  # seconds for a server's answer


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        what: its name.
        state: "ok", "absent" (not needed until it is used) or "broken".
        detail: version, place, or what to do.
    """

    what: str
    state: str
    detail: str


def findings() -> list[Finding]:
    """Look at everything; no look raises, and none changes anything."""
    looks: list[tuple[str, Callable[[], Finding]]] = [
        ("measuring", _measuring),
        ("GPU", _gpu),
        ("TensorBoard", _tensorboard_plugin),
        ("MLflow", _mlflow),
        ("current folder", _folder),
    ]
    found = [Finding("Python", "ok", f"{platform.python_version()}, {sys.executable}")]
    found += [_package(name, "broken") for name in ("foldmon", *_REQUIRED)]
    found += [_package(name, "absent") for name in _OPTIONAL]
    return found + [_guarded(what, look) for what, look in looks]


def as_table(found: list[Finding]) -> str:
    """One line a finding."""
    width = max(len(finding.what) for finding in found)
    return "\n".join(f"{f.state:<7} {f.what:<{width}}  {f.detail}" for f in found)


def as_json(found: list[Finding]) -> list[dict[str, Any]]:
    """The findings as plain values."""
    return [asdict(finding) for finding in found]


def _guarded(what: str, look: Callable[[], Finding]) -> Finding:
    try:
        return look()
    except Exception as error:
        return Finding(what, "broken", f"{type(error).__name__}: {error}")


def _package(name: str, if_missing: str) -> Finding:
    try:
        return Finding(name, "ok", importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        return Finding(name, if_missing, f"not installed: pip install {name}")


def _measuring() -> Finding:
    """A path through three ReLU units whose folding is known: it flips one unit twice, in two layers."""
    import torch
    from torch import nn

    import foldmon

    first, second = nn.Linear(1, 2), nn.Linear(2, 1)
    with torch.no_grad():
        # |t - 1/2| - 1/4: the second layer's unit is on, off, and on again.
        first.weight[:], first.bias[:] = torch.tensor([[1.0], [-1.0]]), torch.tensor([-0.5, 0.5])
        second.weight[:], second.bias[:] = torch.tensor([[1.0, 1.0]]), torch.tensor([-0.25])
    net = nn.Sequential(first, nn.ReLU(), second, nn.ReLU())
    report = foldmon.measure(net, (torch.zeros(1, 1), torch.ones(1, 1)))
    if report.chi[0].tolist() != [0.0, 0.5]:
        return Finding("measuring", "broken", f"a known path folds {report.chi[0].tolist()}, not [0, 0.5]")
    return Finding("measuring", "ok", "a path of known folding is measured right")


def _gpu() -> Finding:
    from foldmon.folding.undisturbed.accelerator import names_of_devices

    names = names_of_devices()
    if not names:
        return Finding("GPU", "absent", "none that torch can use")
    return Finding("GPU", "ok", ", ".join(names))


def _tensorboard_plugin() -> Finding:
    points = importlib.metadata.entry_points(group="tensorboard_plugins", name="foldmon")
    if not points:
        return Finding("TensorBoard", "broken", "the foldmon tab is not registered: reinstall foldmon")
    next(iter(points)).load()
    return Finding("TensorBoard", "ok", "the foldmon tab is registered and loads")


def _mlflow() -> Finding:
    try:
        import mlflow
    except ImportError:
        return Finding("MLflow", "absent", "not installed: pip install 'foldmon[mlflow]'")
    uri = mlflow.get_tracking_uri()
    parsed = urlparse(uri)
    if parsed.scheme not in ("http", "https"):
        # A local store is not opened: that would create it.
        return Finding("MLflow", "ok", f"{_without_password(uri)} (a store without a server)")
    try:
        with urlopen(f"{uri.rstrip('/')}/health", timeout=_TIMEOUT):
            pass
    except HTTPError as error:
        return Finding("MLflow", "ok", f"{_without_password(uri)} answers ({error.code} to /health)")
    except (URLError, OSError) as error:
        return Finding("MLflow", "broken", f"{_without_password(uri)} does not answer ({error})")
    return Finding("MLflow", "ok", f"{_without_password(uri)} answers")


def _without_password(uri: str) -> str:
    before, at, after = uri.rpartition("@")
    return f"{before.partition('://')[0]}://...@{after}" if at else uri


def _folder() -> Finding:
    here = Path.cwd()
    state = "ok" if os.access(here, os.W_OK) else "broken"
    return Finding("current folder", state, f"{here} is {'' if state == 'ok' else 'not '}writable")
