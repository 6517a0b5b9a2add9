from __future__ import annotations

import os

# Before torch is imported: two processes of two threads each wait for each other on a small machine.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch
from torch import nn

from foldmon.monitor.lifetime import close_all

AROUND_EVERY_MODULE = (
    "_global_forward_pre_hooks",
    "_global_forward_hooks",
    "_global_backward_pre_hooks",
    "_global_backward_hooks",
)


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    """Every test runs in a folder of its own, and leaves no monitor open and no hook around every module."""
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    yield
    close_all()
    home = nn.modules.module
    assert not any(vars(home).get(name) for name in AROUND_EVERY_MODULE), "hooks around every module are left"


@pytest.fixture(scope="session")
def mlflow_template(tmp_path_factory):
    """An empty MLflow database; making one takes seconds, copying it none."""
    import mlflow

    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    mlflow.MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def mlp() -> nn.Module:
    return nn.Sequential(
        nn.Linear(8, 32),
        nn.ReLU(),
        nn.Linear(32, 32),
        nn.ReLU(),
        nn.Linear(32, 32),
        nn.ReLU(),
        nn.Linear(32, 3),
    )


@pytest.fixture
def held_out() -> tuple[torch.Tensor, torch.Tensor]:
    """60 inputs of three classes."""
    generator = torch.Generator().manual_seed(1)
    labels = torch.arange(60) % 3
    return torch.randn(60, 8, generator=generator) + labels[:, None], labels
