"""Images: timm, torchvision, MONAI, segmentation_models_pytorch, ultralytics, fastai."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from tests.real.training import Line, Outcome, blobs, loop, training


@training("timm ResNet, its loader", "timm", "torchvision")
def timm_resnet(line: Line) -> Outcome:
    import timm
    from PIL import Image
    from timm.data import create_loader
    from timm.data.dataset import ImageDataset
    from timm.optim import create_optimizer_v2

    folder = Path(tempfile.mkdtemp())
    pixels = np.random.default_rng(0)
    for label in range(3):
        (folder / str(label)).mkdir()
        for number in range(24):
            picture = pixels.integers(0, 80, (48, 48, 3)) + 80 * (np.arange(3) == label)
            Image.fromarray(picture.astype(np.uint8)).save(folder / str(label) / f"{number}.png")
    loaders = [
        create_loader(
            ImageDataset(str(folder)), (3, 32, 32), 12, is_training=training, use_prefetcher=False,
            num_workers=0, device=torch.device("cpu"),
        )
        for training in (True, False)
    ]  # fmt: skip
    model = timm.create_model("resnet10t", num_classes=3)
    optimizer = create_optimizer_v2(model, opt="lamb", lr=1e-3)
    line(model, loaders[1])
    losses = []
    for _ in range(3):
        for x, y in loaders[0]:
            loss = F.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return Outcome(model, len(losses), lambda: model(torch.zeros(2, 3, 32, 32)), losses)


@training("timm ConvNeXt, drop path", "timm")
def timm_convnext(line: Line) -> Outcome:
    import timm

    x, y = blobs(48, 3, 32, 32)
    model = timm.create_model("convnext_atto", num_classes=3, drop_path_rate=0.2)
    line(model, DataLoader(TensorDataset(*blobs(36, 3, 32, 32, seed=1)), 12))

    def loss() -> Tensor:
        rows = torch.randint(48, (4,))
        return F.cross_entropy(model(x[rows]), y[rows])

    return Outcome(model, 12, lambda: model(x[:2]), loop(model, loss, 12))


@training("torchvision ResNet-18 on fake data", "torchvision")
def torchvision_resnet(line: Line) -> Outcome:
    from torchvision import datasets, models, transforms

    data = [
        datasets.FakeData(size, (3, 32, 32), 10, transforms.ToTensor(), random_offset=size)
        for size in (96, 64)
    ]
    train, test = (DataLoader(part, 8, shuffle=part is data[0]) for part in data)
    model = models.resnet18(num_classes=10)
    optimizer = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9, weight_decay=1e-4)
    line(model, test)
    losses = []
    for x, y in train:
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return Outcome(model, 12, lambda: model(torch.zeros(2, 3, 32, 32)), losses)


@training("torchvision detector: lists of images", "torchvision")
def detector(line: Line) -> Outcome:
    from torchvision.models.detection import ssdlite320_mobilenet_v3_large

    model = ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=3)
    generator = torch.Generator().manual_seed(0)
    images = [torch.rand(3, 64, 64, generator=generator) for _ in range(8)]
    targets = [
        {"boxes": torch.tensor([[4.0, 4, 40, 40]]), "labels": torch.tensor([1 + n % 2])} for n in range(8)
    ]
    line(model, (images, targets), pairs=4, points=5)

    def loss() -> Tensor:
        return torch.stack([*model(images[:2], targets[:2]).values()]).sum()

    return Outcome(model, 4, lambda: model(images[:2]), loop(model, loss, 4))


@training("MONAI U-Net with Dice loss", "monai", argument="loss=DiceLoss(...)")
def monai_unet(line: Line) -> Outcome:
    from monai.losses import DiceLoss
    from monai.networks.nets import UNet

    model = UNet(2, 1, 1, channels=(4, 8, 16), strides=(2, 2), num_res_units=1)
    x = torch.randn(24, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    y = (x > 0.5).float()
    criterion = DiceLoss(sigmoid=True)
    line(model, (x[8:], y[8:]), loss=criterion)
    return Outcome(model, 12, lambda: model(x[:2]), loop(model, lambda: criterion(model(x[:8]), y[:8]), 12))


@training("segmentation_models_pytorch FPN", "segmentation_models_pytorch", argument="loss=criterion")
def smp_fpn(line: Line) -> Outcome:
    import segmentation_models_pytorch as smp

    model = smp.FPN("resnet18", encoder_weights=None, classes=1)
    x = torch.randn(16, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    y = (x[:, :1] > 0).float()
    criterion = nn.BCEWithLogitsLoss()
    line(model, (x[4:], y[4:]), loss=criterion)
    return Outcome(model, 8, lambda: model(x[:2]), loop(model, lambda: criterion(model(x[:4]), y[:4]), 8))


@training("fastai Learner", "fastai", argument="learn.dls.valid, optimizer found")
def fastai(line: Line) -> Outcome:
    import fastai.callback.progress
    import fastai.callback.schedule  # noqa: F401 (adds fit_one_cycle to Learner)
    from fastai.data.core import DataLoaders
    from fastai.learner import Learner

    data = [TensorDataset(*blobs(size, 12, seed=size)) for size in (96, 60)]
    loaders = DataLoaders(DataLoader(data[0], 16, shuffle=True), DataLoader(data[1], 30))
    model = nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 3))
    learn = Learner(loaders, model, loss_func=nn.CrossEntropyLoss())
    line(learn.model, learn.dls.valid)
    with learn.no_bar(), learn.no_logging():
        learn.fit_one_cycle(4, 1e-2)
    return Outcome(model, 24, lambda: model(torch.zeros(2, 12)))


@training(
    "ultralytics classification",
    "ultralytics",
    argument="callback on_train_start: trainer.model, trainer.test_loader",
)
def ultralytics(line: Line) -> Outcome:
    from PIL import Image
    from ultralytics import YOLO, settings

    settings.update({"sync": False})
    folder, pixels = Path(tempfile.mkdtemp()), np.random.default_rng(0)
    for part in ("train", "val"):
        for label in "ab":
            (folder / part / label).mkdir(parents=True)
            for number in range(12):
                picture = pixels.integers(0, 99, (32, 32, 3)).astype(np.uint8)
                Image.fromarray(picture).save(folder / part / label / f"{number}.png")
    yolo = YOLO("yolov8n-cls.yaml")
    kept: dict[str, Any] = {}

    def begin(trainer: Any) -> None:
        kept.update(model=trainer.model, optimizer=trainer.optimizer)
        images = [batch["img"] for batch in trainer.test_loader]
        line(trainer.model, torch.cat(images).float(), optimizer=trainer.optimizer, pairs=8, points=5)

    yolo.add_callback("on_train_start", begin)
    options = {
        "imgsz": 32,
        "batch": 8,
        "nbs": 8,
        "workers": 0,
        "device": "cpu",
        "plots": False,
        "verbose": False,
        "save": False,
    }
    yolo.train(data=str(folder), epochs=2, project=tempfile.mkdtemp(), seed=1, **options)
    model = kept["model"]
    return Outcome(model, 6, lambda: model(torch.zeros(2, 3, 32, 32)))
