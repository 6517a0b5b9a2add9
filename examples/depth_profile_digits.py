"""The papers' depth profile on scikit-learn's digits: folding grows from layer to layer.

    python examples/depth_profile_digits.py

Source: "On Space Folds of ReLU Neural Networks", arXiv 2502.09954. examples/paper_claims.py asks the same of
many seeds, depths and widths.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import torch
from matplotlib import pyplot as plt
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F

import foldmon

torch.manual_seed(0)
data = load_digits()
order = torch.randperm(len(data.target))
images = torch.tensor(data.data / 16, dtype=torch.float32)[order]
labels = torch.tensor(data.target)[order]

sizes = [64, *[100] * 6]
hidden = [layer for a, b in itertools.pairwise(sizes) for layer in (nn.Linear(a, b), nn.ReLU())]
model = nn.Sequential(*hidden, nn.Linear(100, 10))
pairs = foldmon.draw_pairs((images[1000:], labels[1000:]), count=64)

profiles = {"initial weights": foldmon.measure(model, pairs, method="exact")}
optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
for step in range(1, 601):
    rows = torch.randint(1000, (50,))
    loss = F.cross_entropy(model(images[rows]), labels[rows])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step in (20, 100, 600):
        profiles[f"step {step}"] = foldmon.measure(model, pairs, method="exact")

with torch.no_grad():
    error = float((model(images[1000:]).argmax(1) != labels[1000:]).float().mean())
figure, axis = plt.subplots(figsize=(6, 4), layout="constrained")
for name, report in profiles.items():
    print(f"{name:<16} " + "  ".join(f"{value:.4f}" for value in report.profile))
    axis.plot(range(1, 7), report.profile, marker="o", label=name)
print(f"test error {error:.1%}")
axis.set_xlabel("layer")
axis.set_ylabel("cumulative folding")
axis.spines[["top", "right"]].set_visible(False)
axis.legend(frameon=False)
path = Path("runs") / "depth_profile.png"
path.parent.mkdir(exist_ok=True)
figure.savefig(path, dpi=130)
print(f"figure: {path}")
