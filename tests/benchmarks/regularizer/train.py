"""Train one network and score it."""

from __future__ import annotations

import numpy as np
import torch
from contenders import Configuration
from settings import Setting, load, network
from torch import Tensor, nn
from torch.nn import functional as F

import foldmon

STEPS = 200
BATCH = 32


def train(setting: Setting, configuration: Configuration, seed: int, *, test: bool) -> dict[str, float]:
    """Validation scores, or with ``test`` the test scores and the measured phi, after the last step."""
    split = load(setting, seed)
    inputs, labels = split.train
    classes = int(split.test[1].max()) + 1
    torch.manual_seed(seed)
    model = network(setting, inputs.shape[1], classes, configuration.dropout)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=configuration.lr, weight_decay=configuration.weight_decay, fused=True
    )
    regularizer = foldmon.FoldingRegularizer(model, configuration.folding, pairs=8, seed=seed)
    generator = np.random.default_rng((seed, 2))
    for _ in range(STEPS):
        rows = torch.from_numpy(generator.permutation(len(labels))[:BATCH])
        x, y = inputs[rows], labels[rows]
        loss = _loss(model, x, F.one_hot(y, classes).float(), configuration, generator)
        if configuration.folding:
            loss = loss + regularizer(x, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    if not test:
        return _scores(model, *split.validation)
    pairs = foldmon.draw_pairs(split.test, 64, seed=seed)
    return _scores(model, *split.test) | {"phi": foldmon.measure(model, pairs).phi}


def _loss(
    model: nn.Module, x: Tensor, y: Tensor, configuration: Configuration, generator: np.random.Generator
) -> Tensor:
    if configuration.mixup:
        share = generator.beta(configuration.mixup, configuration.mixup)
        other = torch.from_numpy(generator.permutation(len(x)))
        x, y = share * x + (1 - share) * x[other], share * y + (1 - share) * y[other]
    return F.cross_entropy(model(x), y, label_smoothing=configuration.smoothing)


@torch.no_grad()
def _scores(model: nn.Module, x: Tensor, y: Tensor) -> dict[str, float]:
    logits = model(x)
    return {
        "accuracy": float((logits.argmax(1) == y).float().mean()),
        "log_loss": float(F.cross_entropy(logits, y)),
    }
