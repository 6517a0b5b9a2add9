"""On which device these tests run: the accelerator of this machine, or none, and then they are skipped.

``FOLDMON_GPU_TESTS=cpu pytest tests/gpu`` runs on the CPU what needs no accelerator for its logic: the tests
themselves are tried that way, not foldmon on a GPU.
"""

from __future__ import annotations

import os

import pytest
import torch

from foldmon.folding.undisturbed.accelerator import module_of


def _kind() -> str | None:
    wished = os.environ.get("FOLDMON_GPU_TESTS")
    if wished:
        return wished
    try:
        found = torch.accelerator.current_accelerator()
    except RuntimeError:  # torch 2.6, where there is none
        found = None
    module = None if found is None else module_of(found.type)
    return found.type if module is not None and module.is_available() else None


@pytest.fixture(scope="session")
def kind() -> str:
    """Type of the device."""
    found = _kind()
    if found is None:
        pytest.skip("no accelerator")
    return found


@pytest.fixture
def device(kind) -> torch.device:
    """The first one."""
    return torch.device(kind, 0) if kind != "cpu" else torch.device("cpu")


@pytest.fixture
def second(kind) -> torch.device:
    """Another one, of the same type."""
    if kind == "cpu":
        return torch.device("cpu")
    if module_of(kind).device_count() < 2:
        pytest.skip("one device only")
    return torch.device(kind, 1)


@pytest.fixture
def cuda(device) -> torch.device:
    """Where graphs are captured."""
    if device.type != "cuda":
        pytest.skip("needs CUDA")
    return device
