"""Tables: skorch, TabNet, metric learning, Keras."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.real.training import Line, Outcome, blobs, loop, training


def mlp(width: int = 12, out: int = 3) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, out))


@training(
    "skorch classifier", "skorch", argument="net.initialize() first, then watch net.module_, and partial_fit"
)
def skorch(line: Line) -> Outcome:
    from skorch import NeuralNetClassifier

    x, y = (part.numpy() for part in blobs(128, 12))
    net = NeuralNetClassifier(
        mlp(), criterion=nn.CrossEntropyLoss, max_epochs=5, lr=0.1, batch_size=32, train_split=None, verbose=0
    )
    net.initialize()
    line(net.module_, blobs(90, 12, seed=1))
    net.partial_fit(x, y)
    return Outcome(
        net.module_, 20, lambda: net.module_(torch.zeros(2, 12)), [row["train_loss"] for row in net.history]
    )


@training("TabNet", "pytorch_tabnet", argument="callback on_train_begin: trainer.network")
def tabnet(line: Line) -> Outcome:
    from pytorch_tabnet.callbacks import Callback
    from pytorch_tabnet.tab_model import TabNetClassifier

    class Begin(Callback):  # type: ignore[misc]
        def on_train_begin(self, logs: object = None) -> None:
            line(self.trainer.network, blobs(90, 12, seed=1))

    x, y = (part.numpy() for part in blobs(192, 12))
    model = TabNetClassifier(n_d=8, n_a=8, n_steps=2, verbose=0, seed=1, device_name="cpu")
    model.fit(x, y, max_epochs=4, batch_size=64, virtual_batch_size=32, drop_last=False, callbacks=[Begin()])
    losses = [float(loss) for loss in model.history["loss"]]
    return Outcome(model.network, 12, lambda: model.network(torch.zeros(2, 12)), losses)


@training("metric learning, triplet margin", "pytorch_metric_learning")
def metric(line: Line) -> Outcome:
    from pytorch_metric_learning import losses, miners

    x, y = blobs(128, 12)
    model, criterion, miner = mlp(out=8), losses.TripletMarginLoss(), miners.MultiSimilarityMiner()
    line(model, blobs(90, 12, seed=1))

    def loss() -> Tensor:
        rows = torch.randint(128, (32,))
        embedded = model(x[rows])
        return criterion(embedded, y[rows], miner(embedded, y[rows]))  # type: ignore[no-any-return]

    return Outcome(model, 30, lambda: model(x[:2]), loop(model, loss))


@training("Keras 3 on torch", "keras", argument="a callback that watches model at on_train_begin")
def keras(line: Line) -> Outcome:
    import keras

    keras.utils.set_random_seed(1)
    x, y = (part.numpy() for part in blobs(160, 12))
    model = keras.Sequential(
        [
            keras.layers.Input((12,)),
            *(keras.layers.Dense(32, activation="relu") for _ in range(2)),
            keras.layers.Dense(3),
        ]
    )
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))

    class Watch(keras.callbacks.Callback):  # type: ignore[misc]
        def on_train_begin(self, logs: object = None) -> None:
            line(self.model, blobs(90, 12, seed=1))

    fitted = model.fit(x.astype(np.float32), y, batch_size=16, epochs=3, verbose=0, callbacks=[Watch()])
    return Outcome(model, 30, lambda: model(torch.zeros(2, 12)), fitted.history["loss"])


@training("Keras 3 in a torch loop", "keras")
def keras_in_a_loop(line: Line) -> Outcome:
    import keras

    class Net(keras.Model):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = (keras.layers.Dense(32, activation=a) for a in ("relu", "gelu"))
            self.norm, self.out = keras.layers.LayerNormalization(), keras.layers.Dense(3)

        def call(self, x: Tensor) -> Tensor:
            return self.out(self.second(self.norm(self.first(x))))

    keras.utils.set_random_seed(1)
    x, y = blobs(96, 12)
    model = Net()
    model(x[:2])
    line(model, blobs(90, 12, seed=1))
    losses = loop(model, lambda: F.cross_entropy(model(x), y))
    return Outcome(model, 30, lambda: model(x[:2]), losses)
