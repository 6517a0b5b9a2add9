"""A plain training loop and the one line.

python examples/plain_loop.py
tensorboard --logdir runs
"""

from __future__ import annotations

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset, random_split

import foldmon

torch.manual_seed(0)
data = load_digits()
digits = TensorDataset(torch.tensor(data.data / 16, dtype=torch.float32), torch.tensor(data.target))
train_data, val_data = random_split(digits, [1300, len(digits) - 1300])
train_loader, val_loader = DataLoader(train_data, batch_size=50, shuffle=True), DataLoader(val_data, 50)

model = nn.Sequential(
    nn.Linear(64, 100), nn.ReLU(), nn.Linear(100, 100), nn.ReLU(), nn.Linear(100, 100), nn.ReLU(),
    nn.Linear(100, 10),
)  # fmt: skip
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

monitor = foldmon.watch(model, val_loader)  # the one line

for _ in range(20):
    for images, labels in train_loader:
        loss = F.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

monitor.probe()  # once more at the very end, whatever the schedule says
print(monitor.summary())
monitor.close()
