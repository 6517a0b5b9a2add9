"""One training run, probed at equal intervals; every raw probe record is kept."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import foldmon
from tests.benchmarks.warnings.data import Data, load
from tests.benchmarks.warnings.grid import Spec
from tests.benchmarks.warnings.models import build

PAIRS, POINTS, BATCH = 64, 17, 48
_DROPPED = ("class_names", "class_matrix", "classes", "notes", "units", "evaluations")


def train(spec: Spec) -> dict[str, Any]:
    """Train one network and probe it.

    Returns:
        "spec", "records" (the fields of a journal's probe lines), "training_records" (the same on pairs
        of training inputs), and "labelled" (what only labels tell: validation loss and accuracy), each
        with one entry a probe.
    """
    torch.manual_seed(spec.seed)
    data = load(spec.data, spec.seed % 8)
    x, y = _training_set(spec, data)
    model = build(spec.architecture, spec.activation, 0.3 if spec.condition == "dropout" else 0.0, data)
    if spec.condition == "dead units":
        _starve(model)
    optimizer = _optimizer(spec, model)
    # Regardless of class: the labels are for the comparison with a detector that has them.
    held_out = foldmon.draw_pairs((data.x_val, data.y_val), PAIRS, kind="any", seed=0)
    trained_on = foldmon.draw_pairs(x, min(PAIRS, len(x)), seed=0)
    probed = set(np.linspace(0, spec.steps, spec.probes).astype(int).tolist())
    run: dict[str, Any] = {"spec": spec.__dict__, "records": [], "training_records": [], "labelled": []}
    losses: list[float] = []
    for step in range(spec.steps + 1):
        if step in probed:
            _probe(run, model, step, held_out, trained_on, data, losses)
            losses.clear()
        if spec.condition == "breaking rate" and step == spec.steps // 2:
            for group in optimizer.param_groups:
                group["lr"] *= 30
        rows = torch.randint(len(x), (BATCH,))
        inputs = _disturbed(spec, x[rows], step)
        loss = cross_entropy(model(inputs), y[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return run


def _training_set(spec: Spec, data: Data) -> tuple[Tensor, Tensor]:
    x, y = data.x, data.y.clone()
    if spec.condition == "few samples":
        return x[: max(24, len(x) // 20)], y[: max(24, len(x) // 20)]
    if spec.condition.startswith("noise"):
        share = float(spec.condition.split()[1].rstrip("%")) / 100
        wrong = torch.rand(len(y)) < share
        y[wrong] = (y[wrong] + torch.randint(1, data.classes, (int(wrong.sum()),))) % data.classes
    if spec.condition == "leak":
        return torch.cat([x, data.x_val]), torch.cat([y, data.y_val])
    return x, y


def _optimizer(spec: Spec, model: nn.Module) -> torch.optim.Optimizer:
    decay = spec.condition == "weight decay"
    if spec.optimizer == "sgd":
        return torch.optim.SGD(
            model.parameters(), spec.rate, momentum=0.9, weight_decay=1e-2 if decay else 0.0
        )
    return torch.optim.AdamW(model.parameters(), spec.rate, weight_decay=1.0 if decay else 0.0)


def _starve(model: nn.Module) -> None:
    """Push the biases of most hidden units so low that they hardly ever fire."""
    layers = [m for m in model.modules() if isinstance(m, nn.Linear | nn.Conv2d) and m.bias is not None]
    with torch.no_grad():
        for layer in layers[:-1]:
            layer.bias[torch.rand(len(layer.bias)) < 0.8] = -3.0


def _disturbed(spec: Spec, inputs: Tensor, step: int) -> Tensor:
    floating = inputs.is_floating_point()
    if spec.condition == "augmentation":
        if floating:
            return inputs + 0.3 * torch.randn_like(inputs)
        other = torch.randint(int(inputs.max()) + 1, inputs.shape)
        return torch.where(torch.rand(inputs.shape) < 0.1, other, inputs)
    if spec.condition == "shift" and step > spec.steps // 2:
        # From half-time on the features arrive in another order: what was learned no longer holds.
        return inputs.flip(1)
    return inputs


@torch.no_grad()
def _probe(
    run: dict[str, Any],
    model: nn.Module,
    step: int,
    held_out: foldmon.Pairs,
    trained_on: foldmon.Pairs,
    data: Data,
    losses: list[float],
) -> None:
    record = _measured(model, held_out) | {"step": step}
    record["logged"] = {"loss": float(np.mean(losses))} if losses else {}
    run["records"].append(record)
    run["training_records"].append(_measured(model, trained_on))
    model.eval()
    logits = model(data.x_val)
    run["labelled"].append(
        {
            "step": step,
            "loss": float(cross_entropy(logits, data.y_val)),
            "accuracy": float((logits.argmax(1) == data.y_val).float().mean()),
            "ends_loss": _loss_of_ends(model, held_out),
            "weight_norm": float(sum(p.square().sum() for p in model.parameters()).sqrt()),
        }
    )
    model.train()


def _loss_of_ends(model: nn.Module, pairs: foldmon.Pairs) -> float:
    """Loss of the probe's own inputs, which a detector with their labels could see."""
    assert pairs.classes is not None
    classes = torch.tensor([int(name) for name in pairs.class_names])[torch.from_numpy(pairs.classes)]
    logits = torch.cat([model(pairs.first), model(pairs.second)])
    return float(cross_entropy(logits, classes.T.flatten()))


def _measured(model: nn.Module, pairs: foldmon.Pairs) -> dict[str, Any]:
    """The record of one probe."""
    report = foldmon.measure(model, pairs, points=POINTS).to_dict()
    return _rounded({name: value for name, value in report.items() if name not in _DROPPED})


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _rounded(entry) for name, entry in value.items()}
    if isinstance(value, list):
        return [_rounded(entry) for entry in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value
