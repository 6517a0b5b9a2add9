"""Checkpoints as frameworks write them, and what is refused."""

from __future__ import annotations

import argparse
import copy
import re

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from foldmon.commands import load


def made_model() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))


MODEL = f"{__name__}:made_model"


def trained() -> nn.Module:
    torch.manual_seed(3)
    return made_model()


class Module(nn.Module):
    """As a LightningModule holds its model: beside metrics, a loss and a teacher."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.teacher = made_model()
        setattr(self, name, trained())
        self.criterion = nn.CrossEntropyLoss(weight=torch.ones(3))


def wrapped(kind: str) -> nn.Module:
    made = {
        "DistributedDataParallel": lambda: nn.DataParallel(trained()),
        "torch.compile": lambda: torch.compile(trained(), backend="eager"),
        "both": lambda: nn.DataParallel(torch.compile(trained(), backend="eager")),
        "an average": lambda: AveragedModel(trained()),
        "Lightning": lambda: Module("model"),
        "Lightning and a compiled part": lambda: torch.compile(Module("model"), backend="eager"),
    }
    return made[kind]()


@pytest.mark.parametrize("nested", [None, "state_dict", "model_state_dict", "model"])
@pytest.mark.parametrize(
    "kind",
    ["DistributedDataParallel", "torch.compile", "both", "an average", "Lightning",
     "Lightning and a compiled part"],
)  # fmt: skip
def test_weights_of_a_wrapped_model_load(tmp_path, kind, nested):
    state = wrapped(kind).state_dict()
    torch.save(state if nested is None else {nested: state, "epoch": 3}, tmp_path / "last.ckpt")
    loaded = load.model(MODEL, str(tmp_path / "last.ckpt"))
    for found, wanted in zip(loaded.parameters(), trained().parameters(), strict=True):
        assert torch.equal(found, wanted)


def test_a_part_inside_is_compiled(tmp_path):
    model = trained()
    model[0] = torch.compile(model[0], backend="eager")
    torch.save(model.state_dict(), tmp_path / "last.pt")
    loaded = load.model(MODEL, str(tmp_path / "last.pt"))
    assert torch.equal(loaded[0].weight, trained()[0].weight)


def test_a_model_with_a_part_of_a_wrappers_name_keeps_it(tmp_path, monkeypatch):
    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.module, self.other = nn.Linear(4, 3), nn.Linear(4, 3)

    model = Named()
    monkeypatch.setattr(load, "called", lambda reference: copy.deepcopy(model))
    for state in (model.state_dict(), nn.DataParallel(model).state_dict()):
        torch.save(state, tmp_path / "last.pt")
        with torch.no_grad():
            loaded = load.model("named", str(tmp_path / "last.pt"))
        assert torch.equal(loaded.module.weight, model.module.weight)
        assert torch.equal(loaded.other.weight, model.other.weight)


@pytest.mark.parametrize(
    "other",
    [
        nn.Sequential(*made_model(), nn.Linear(3, 3)),  # a deeper one
        nn.Sequential(nn.Linear(4, 8), nn.ReLU()),
        nn.Sequential(nn.Linear(4, 9), nn.ReLU(), nn.Linear(9, 3)),
        nn.DataParallel(nn.Sequential(*made_model(), nn.Linear(3, 3))),
    ],
)
def test_weights_of_another_model_are_refused(tmp_path, other):
    torch.save(other.state_dict(), tmp_path / "other.pt")
    with pytest.raises(ValueError, match="are not the model's"):
        load.model(MODEL, str(tmp_path / "other.pt"))


@pytest.mark.parametrize(
    ("value", "name"),
    [(argparse.Namespace(lr=0.1), "argparse.Namespace"), (re.compile("x"), "re._compile"),
     (trained(), "Sequential")],
)  # fmt: skip
def test_a_refused_file_names_the_class_without_escape_codes(tmp_path, value, name):
    torch.save({"state_dict": trained().state_dict(), "extra": value}, tmp_path / "last.pt")
    with pytest.raises(ValueError, match=re.escape(name)) as refused:
        load.model(MODEL, str(tmp_path / "last.pt"))
    assert str(refused.value).isprintable()
    assert "save model.state_dict() alone" in str(refused.value)
