"""Keep the best weights, stop at the warning, and see what that spared.

A network learns 300 digits of which 40% carry a wrong label: the digits first, the mistakes later. foldmon
compares the same held-out images over the run; ``monitor.best_step`` moves whenever they are told better than
before, and the warning says when that has become worse than chance explains. This loop goes on after it, to
show what stopping would have lost and spared.

    python examples/early_stopping.py
"""

from __future__ import annotations

import copy

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F

import foldmon

TRAINING, NOISE, EPOCHS = 300, 0.4, 150

torch.manual_seed(0)
data = load_digits()
order = torch.randperm(len(data.target))
images = torch.tensor(data.data / 16, dtype=torch.float32)[order]
labels = torch.tensor(data.target)[order]
learned = labels[:TRAINING].clone()
wrong = torch.rand(TRAINING) < NOISE
learned[wrong] = (learned[wrong] + torch.randint(1, 10, (int(wrong.sum()),))) % 10

model = nn.Sequential(
    nn.Linear(64, 100), nn.ReLU(), nn.Linear(100, 100), nn.ReLU(), nn.Linear(100, 100), nn.ReLU(),
    nn.Linear(100, 10),
)  # fmt: skip
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)


def accuracy() -> float:
    with torch.no_grad():
        return float((model(images[TRAINING:]).argmax(1) == labels[TRAINING:]).float().mean())


held_out = images[TRAINING:], labels[TRAINING:]
best_step: int | None = None
best = copy.deepcopy(model.state_dict())
warned: float | None = None
with foldmon.watch(model, held_out, log_dir="runs/early_stopping") as monitor:
    for _ in range(EPOCHS):
        for rows in torch.randperm(TRAINING).split(50):
            loss = F.cross_entropy(model(images[rows]), learned[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            monitor.log(loss=loss)
        if monitor.best_step != best_step:
            best_step, best = monitor.best_step, copy.deepcopy(model.state_dict())
        if warned is None and monitor.should_stop:
            warned = accuracy()  # a real loop would break here

for warning in monitor.warnings:
    print(f"step {warning.step}, severity {warning.severity}: {warning.reasons[0]}\n")
last = accuracy()
model.load_state_dict(best)
if warned is None:
    print("no warning to stop at in this run")
else:
    print(f"at the warning            accuracy {warned:.1%}")
print(f"at the end                accuracy {last:.1%}")
print(f"of the weights kept       accuracy {accuracy():.1%} (best step {best_step})")
