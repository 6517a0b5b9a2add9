"""Frameworks for any field: Lightning, Ignite, Accelerate."""

from __future__ import annotations

import tempfile
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from tests.real.training import Line, Outcome, blobs, training


def loaders() -> tuple[DataLoader[Any], DataLoader[Any]]:
    train, test = (TensorDataset(*blobs(size, 12, seed=size)) for size in (96, 60))
    return DataLoader(train, 16, shuffle=True), DataLoader(test, 30)


def net() -> nn.Sequential:
    return nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 3))


@training("Lightning", "lightning", argument="callbacks=[FoldingCallback()]")
def lightning(line: Line) -> Outcome:
    import lightning.pytorch as pl

    from foldmon.integrations.lightning import FoldingCallback

    class Module(pl.LightningModule):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.net = net()

        def forward(self, x: Tensor) -> Tensor:
            # As warm-ups do: a copy of the module alone has no trainer.
            return self.net(x) * (1.0 if self.current_epoch >= 0 else 0.0)

        def training_step(self, batch: Any, index: int) -> Tensor:
            loss = F.cross_entropy(self(batch[0]), batch[1])
            self.log("loss", loss)
            return loss

        def validation_step(self, batch: Any, index: int) -> None:
            self.log("val_loss", F.cross_entropy(self(batch[0]), batch[1]))

        def configure_optimizers(self) -> Any:
            optimizer = torch.optim.Adam(self.parameters())
            return [optimizer], [torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 4)]

    callback, module = FoldingCallback(exporters=[]), Module()
    trainer = pl.Trainer(
        max_epochs=4, accelerator="cpu", callbacks=[callback] if line.on else [], logger=False,
        enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False,
        default_root_dir=tempfile.mkdtemp(),
    )  # fmt: skip
    trainer.fit(module, *loaders())
    line.monitor = callback.monitor
    return Outcome(module, 24, lambda: module(torch.zeros(2, 12)))


@training("Ignite", "ignite", argument="FoldingHandler(model, loader).attach(trainer)")
def ignite(line: Line) -> Outcome:
    from ignite.engine import create_supervised_trainer

    from foldmon.integrations.ignite import FoldingHandler

    model, (train, test), losses = net(), loaders(), []
    trainer = create_supervised_trainer(
        model, torch.optim.SGD(model.parameters(), 0.1), nn.CrossEntropyLoss()
    )
    if line.on:
        handler = FoldingHandler(model, test, exporters=[])
        handler.attach(trainer)
    trainer.run(train, max_epochs=4)
    losses.append(trainer.state.output)
    if line.on:
        line.monitor = handler.monitor
    return Outcome(model, 24, lambda: model(torch.zeros(2, 12)), losses)


@training("Accelerate, accumulation", "accelerate", argument="watch_accelerated(accelerator, model, loader)")
def accelerate(line: Line) -> Outcome:
    from accelerate import Accelerator

    from foldmon.integrations.accelerate import watch_accelerated

    accelerator = Accelerator(cpu=True, gradient_accumulation_steps=2)
    (train, test), inner = loaders(), net()
    model, optimizer, train = accelerator.prepare(inner, torch.optim.AdamW(inner.parameters(), 1e-3), train)
    if line.on:
        line.monitor = watch_accelerated(accelerator, model, test, exporters=[])
    losses = []
    for _ in range(4):
        for x, y in train:
            with accelerator.accumulate(model):
                loss = F.cross_entropy(model(x), y)
                accelerator.backward(loss)
                optimizer.step()
                optimizer.zero_grad()
                losses.append(loss.item())
    return Outcome(inner, 12, lambda: inner(torch.zeros(2, 12)), losses)


@training("Lightning GAN, manual optimization", "lightning", argument="callbacks=[FoldingCallback(noise)]")
def lightning_gan(line: Line) -> Outcome:
    import lightning.pytorch as pl

    from foldmon.integrations.lightning import FoldingCallback

    class Gan(pl.LightningModule):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.automatic_optimization = False
            self.maker = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 12))
            self.critic = nn.Sequential(nn.Linear(12, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1))

        def forward(self, z: Tensor) -> Tensor:
            return self.maker(z)

        def training_step(self, batch: Any, index: int) -> None:
            for_maker, for_critic = self.optimizers()
            made = self(torch.randn(len(batch[0]), 4))
            loss = F.softplus(-self.critic(batch[0])).mean() + F.softplus(self.critic(made.detach())).mean()
            for_critic.zero_grad()
            self.manual_backward(loss)
            for_critic.step()
            for_maker.zero_grad()
            self.manual_backward(F.softplus(-self.critic(made)).mean())
            for_maker.step()

        def configure_optimizers(self) -> Any:
            return [torch.optim.Adam(part.parameters()) for part in (self.maker, self.critic)]

    callback, module = FoldingCallback(torch.randn(64, 4), exporters=[]), Gan()
    trainer = pl.Trainer(
        max_epochs=3, accelerator="cpu", callbacks=[callback] if line.on else [], logger=False,
        enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False,
        default_root_dir=tempfile.mkdtemp(),
    )  # fmt: skip
    trainer.fit(module, loaders()[0])
    line.monitor = callback.monitor
    return Outcome(module, 36, lambda: module(torch.zeros(2, 4)))  # Lightning counts both optimizers' steps
