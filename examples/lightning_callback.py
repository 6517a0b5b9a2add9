"""PyTorch Lightning: folding beside the loss in the trainer's own logger.

python examples/lightning_callback.py
tensorboard --logdir runs
"""

from __future__ import annotations

import lightning.pytorch as pl
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset, random_split

from foldmon.integrations.lightning import FoldingCallback


class Digits(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(), nn.Flatten(),
            nn.Linear(256, 64), nn.ReLU(), nn.Linear(64, 10),
        )  # fmt: skip

    def forward(self, images: Tensor) -> Tensor:
        return self.net(images)

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        images, labels = batch
        loss = F.cross_entropy(self(images), labels)
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], index: int) -> None:
        images, labels = batch
        self.log("val_loss", F.cross_entropy(self(images), labels))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=1e-3)


pl.seed_everything(0)
data = load_digits()
images = torch.tensor(data.images / 16, dtype=torch.float32).unsqueeze(1)
train_data, val_data = random_split(TensorDataset(images, torch.tensor(data.target)), [1300, 497])

# A fixed interval, so that a run of seconds shows a curve; without it probes cost 1% of the time.
folding = FoldingCallback(every=26, method="sampled")
trainer = pl.Trainer(
    max_epochs=5, logger=TensorBoardLogger("runs", name="lightning"), callbacks=[folding], accelerator="cpu",
    enable_progress_bar=False, enable_model_summary=False,
)  # fmt: skip
trainer.fit(
    Digits(), DataLoader(train_data, batch_size=50, shuffle=True), DataLoader(val_data, batch_size=50)
)
assert folding.monitor is not None
print(folding.monitor.summary())
