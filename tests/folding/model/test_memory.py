"""The C library is taught to keep freed memory, unless the environment says not to."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.overrides import TorchFunctionMode

import foldmon
from foldmon.folding.model.memory import keep_freed_memory

VARIABLE = "FOLDMON_KEEP_FREED_MEMORY"


class Lessons(TorchFunctionMode):
    """Counts blocks of more than 16 MiB that are allocated."""

    count = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.count += isinstance(result, torch.Tensor) and result.nbytes > 16 * 2**20
        return result


@pytest.mark.parametrize(("value", "lessons"), [(None, 1), ("1", 1), ("", 1), ("0", 0), (" False ", 0)])
def test_the_environment_can_switch_it_off(
    value: str | None, lessons: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    if value is not None:
        monkeypatch.setenv(VARIABLE, value)
    with Lessons() as seen:
        keep_freed_memory()
    assert seen.count == lessons


@pytest.mark.parametrize(("value", "lessons"), [("1", 1), ("0", 0)])
def test_no_other_place_teaches_it(value: str, lessons: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, value)
    model = nn.Sequential(nn.Linear(2, 4), nn.ReLU())
    with Lessons() as seen:
        foldmon.measure(model, (torch.zeros(2, 2), torch.ones(2, 2)))
    assert seen.count == lessons
