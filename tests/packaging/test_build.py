"""Wheel and sdist, installed into an environment that has the dependencies and no foldmon."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DEPENDENCIES = Path(importlib.util.find_spec("torch").origin).parents[1]
SOURCES = ("foldmon", "integrations", "pyproject.toml", "README.md", "LICENSE")

pytestmark = pytest.mark.slow


def run(*command, **options):
    # Without PYTHONPATH, which would find the checkout.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [str(part) for part in command]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A copy of the sources is built, so that the working tree stays as it is."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    for name in SOURCES:
        path = ROOT / name
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(path, source / name, ignore=ignored) if path.is_dir() else shutil.copy(path, source)
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, source)
    return next(out.glob("*.whl")), next(out.glob("*.tar.gz"))


@pytest.fixture(scope="module", params=["wheel", "sdist"])
def python(request, built, tmp_path_factory):
    """The interpreter of an environment into which the distribution was installed."""
    folder = tmp_path_factory.mktemp(request.param)
    venv.create(folder / "env", with_pip=False)
    python = folder / "env" / "bin" / "python"
    (site,) = (folder / "env" / "lib").glob("python*/site-packages")
    # As a .pth, so that an editable foldmon that may live there is not found.
    (site / "dependencies.pth").write_text(str(DEPENDENCIES))
    distribution = built[0] if request.param == "wheel" else built[1]
    run(python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", distribution)
    return python


def test_it_is_the_installed_one_that_runs(python, tmp_path):
    out = run(
        python,
        "-c",
        "import foldmon, foldmon.integrations as i; print(foldmon.__file__, i.__file__)",
        cwd=tmp_path,
    )
    assert all(Path(path).is_relative_to(python.parents[1]) for path in out.split())


def test_it_watches_a_training(python, tmp_path):
    program = """
import torch, foldmon
model = torch.nn.Sequential(torch.nn.Linear(4, 16), torch.nn.ReLU(), torch.nn.Linear(16, 3))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
with foldmon.watch(model, (torch.randn(60, 4), torch.arange(60) % 3), every=5, log_dir="run") as monitor:
    for _ in range(10):
        model(torch.randn(8, 4)).square().mean().backward(); optimizer.step()
print(monitor.steps)
"""
    assert run(python, "-c", program, cwd=tmp_path).strip() == "10"
    assert list((tmp_path / "run" / "foldmon").glob("events.out.*"))


def test_the_command_is_there(python, tmp_path):
    command = python.parent / "foldmon"
    assert run(command, "config", cwd=tmp_path).startswith("# Options of foldmon.watch")
    found = json.loads(run(python, "-c", DOCTOR, cwd=tmp_path))
    assert found["measuring"] == found["TensorBoard"] == "ok"


DOCTOR = """
import json
from foldmon.commands.doctor import findings
print(json.dumps({finding.what: finding.state for finding in findings()}))
"""


def test_wheel_and_sdist_hold_every_module_and_nothing_else(built):
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "foldmon").rglob("*.py")}
    modules |= {
        f"foldmon/{path.relative_to(ROOT).as_posix()}" for path in (ROOT / "integrations").glob("*.py")
    }
    wheel = {name for name in zipfile.ZipFile(built[0]).namelist() if name.endswith(".py")}
    assert wheel == modules
    assert "foldmon/py.typed" in zipfile.ZipFile(built[0]).namelist()
    with tarfile.open(built[1]) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    assert {"LICENSE", "README.md", "pyproject.toml", "integrations/lightning.py"} <= names
