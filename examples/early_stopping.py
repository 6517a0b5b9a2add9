"""Stop by the early warning, without a single label of the held-out images.

A network learns 300 digits of which 40% carry a wrong label: the digits first, the mistakes later. The
warning reads the folding of held-out images and the training loss; the validation accuracy is computed for
the printed comparison only. The warning misses a quarter or more of the runs that degrade, and it mostly
comes well after the best epoch, here too: it says that something went wrong, not when to stop. With labels
at hand, stop by them. tests/benchmarks/warnings/RESULTS.md says where the warning helps and where not.

    python examples/early_stopping.py
"""

from __future__ import annotations

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


curve: list[float] = []
stopped: int | None = None
with foldmon.watch(model, images[TRAINING:], every=25, log_dir="runs/early_stopping") as monitor:
    for epoch in range(EPOCHS):
        for rows in torch.randperm(TRAINING).split(50):
            loss = F.cross_entropy(model(images[rows]), learned[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            monitor.log(loss=loss.item())  # without it the warning sees much less
        curve.append(accuracy())
        if stopped is None and monitor.warnings:
            stopped = epoch  # a real loop would break here; this one goes on to show what it would lose

for warning in monitor.warnings:
    print(f"step {warning.step}, severity {warning.severity}: {'; '.join(warning.reasons)}")
best = max(range(EPOCHS), key=curve.__getitem__)
print(f"best epoch     {best + 1:>3}: accuracy {curve[best]:.1%}")
if stopped is None:
    print("no warning in this run")
else:
    print(f"warned in epoch {stopped + 1:>2}: accuracy {curve[stopped]:.1%}")
print(f"last epoch     {EPOCHS:>3}: accuracy {curve[-1]:.1%}")
